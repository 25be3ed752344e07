"""Answers: did the watched process fork? Its children are not watched, and must not report as if they were it."""

from __future__ import annotations

import os

from syncwatch.sense import active

_forks = 0
_is_child = False


def forks() -> int:
    """Return how often this process has forked since torch was watched first."""
    return _forks


def is_child() -> bool:
    """Return whether this process is the child of a fork of the watched one."""
    return _is_child


def _in_parent() -> None:
    global _forks
    _forks += 1


def _in_child() -> None:
    global _is_child
    _is_child = True
    active.clear()


# Only while someone watches do forks matter; the count before is subtracted by whoever asks.
os.register_at_fork(after_in_parent=_in_parent, after_in_child=_in_child)
