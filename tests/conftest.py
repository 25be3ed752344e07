"""Answers: which options and settings does every test share?"""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    # Before any test module defines a kernel: Triton decides at its definition how it will run.
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that rewrites golden files; their diff is reviewed like code."""
    parser.addoption("--rewrite-golden", action="store_true", help="write the golden files anew instead of comparing")
