"""Answers: which options and fixtures does every test share?"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that rewrites golden files; their diff is reviewed like code."""
    parser.addoption("--rewrite-golden", action="store_true", help="write the golden files anew instead of comparing")
