"""Answers: what does a trace say of one synchronization? Attribution tells, and is no part of this stage."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SyncLabel:
    """The cause of a synchronization, and the line of the user's that it belongs to."""

    code: str
    """Stable cause code, as SW101."""
    title: str
    file: str
    """`finding.NO_LINE` where no line was found."""
    line: int
    function: str
