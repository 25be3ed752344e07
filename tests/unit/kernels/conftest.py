"""Answers: how do kernel tests run without a GPU? In Triton's interpreter, which has to be chosen before the import."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

from tests.kernel_fixtures import poison_fresh_memory


@pytest.fixture(autouse=True)
def seeded_and_poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    poison_fresh_memory(monkeypatch)
