"""The workload launches the kernels, so its tests run in the same interpreter as theirs, with fresh memory NaN."""

from __future__ import annotations

from tests.unit.kernels.conftest import mended_interpreter, seeded_and_poisoned

__all__ = ["mended_interpreter", "seeded_and_poisoned"]
