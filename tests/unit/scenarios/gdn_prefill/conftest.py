"""The workload launches the kernels, and is tested as they are."""

from __future__ import annotations

from tests.unit.kernels.conftest import mended_interpreter, seeded_and_poisoned

__all__ = ["mended_interpreter", "seeded_and_poisoned"]
