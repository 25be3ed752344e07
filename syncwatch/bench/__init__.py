"""What a scenario is made of: the public contract for scenarios in packages of their own (docs/writing-a-scenario.md).

Importing it takes neither torch nor Triton, so that a scenario can be listed without them.
"""

from __future__ import annotations

from syncwatch.bench.options import NoOptions, option, require_range
from syncwatch.bench.scenario import Defaults, OwnFigures, OwnParameters, Scenario, Workload

__all__ = [
    "Defaults",
    "NoOptions",
    "OwnFigures",
    "OwnParameters",
    "Scenario",
    "Workload",
    "option",
    "require_range",
]
