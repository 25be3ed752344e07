"""The options and settings that all tests share."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest
import torch

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As where a shell started this in the background; what the tests start would ignore Ctrl-C too.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.default_int_handler)

if not torch.cuda.is_available():
    # Before any test module defines a kernel: Triton decides at its definition how it will run.
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that rewrites golden files; their diff is reviewed like code."""
    parser.addoption("--rewrite-golden", action="store_true", help="write the golden files anew instead of comparing")
