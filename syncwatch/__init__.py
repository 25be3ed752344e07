"""syncwatch finds the lines of PyTorch code that make the CPU wait for the GPU, and says what each costs.

```python
import syncwatch

with syncwatch.watch(device="auto") as watch:
    model.generate(...)
for site in watch.report.sites:
    print(site.code, site.file, site.line, site.calls)
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from syncwatch.version import __version__ as __version__

if TYPE_CHECKING:
    from syncwatch.app.guard import allow, guard
    from syncwatch.app.watch import watch
    from syncwatch.errors import SyncError
    from syncwatch.model.report import Report, Site
    from syncwatch.model.session import Session
    from syncwatch.model.verdict import Policy, Verdict
    from syncwatch.sense.scopes.ranges import annotate, step

__all__ = [
    "Policy",
    "Report",
    "Session",
    "Site",
    "SyncError",
    "Verdict",
    "allow",
    "annotate",
    "guard",
    "step",
    "watch",
]

# torch takes seconds to import: `syncwatch --help` and the reading of a saved session do without it.
_HOMES = {
    "Policy": "syncwatch.model.verdict",
    "Report": "syncwatch.model.report",
    "Session": "syncwatch.model.session",
    "Site": "syncwatch.model.report",
    "SyncError": "syncwatch.errors",
    "Verdict": "syncwatch.model.verdict",
    "allow": "syncwatch.app.guard",
    "annotate": "syncwatch.sense.scopes.ranges",
    "guard": "syncwatch.app.guard",
    "step": "syncwatch.sense.scopes.ranges",
    "watch": "syncwatch.app.watch",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'syncwatch' has no attribute {name!r}")
    # Kept, so that the next look-up costs nothing: guards stand in hot loops.
    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
