"""Runs the kernel tests in Triton's interpreter where there is no GPU; it has to be chosen before the import.

The interpreter is patched as on the virtual device: Triton 3.9's own refuses a mask made by comparing two scalars.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

from syncwatch.sense.patching import Patches
from syncwatch.sense.virtual.triton import numbers as triton_numbers
from tests.helpers.kernel_fixtures import poison_fresh_memory


@pytest.fixture(scope="module", autouse=True)
def mended_interpreter() -> Iterator[None]:
    patches = Patches()
    if not torch.cuda.is_available():
        triton_numbers.patch(patches)
    yield
    patches.restore()


@pytest.fixture(autouse=True)
def seeded_and_poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    poison_fresh_memory(monkeypatch)
