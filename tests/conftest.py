"""The options and settings that all tests share."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest
import torch

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts pytest in the background lets it ignore Ctrl-C, which the tests' own processes would inherit.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.default_int_handler)

if not torch.cuda.is_available():
    # Set before any test module defines a kernel: Triton decides at the definition how a kernel will run.
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that rewrites golden files; their diff is reviewed like code."""
    parser.addoption("--rewrite-golden", action="store_true", help="write the golden files anew instead of comparing")
