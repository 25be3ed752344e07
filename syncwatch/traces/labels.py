"""Answers: what does a trace say of one synchronization? Attribution tells, and is no part of this stage."""

from __future__ import annotations

from dataclasses import dataclass

from syncwatch.model.finding import NO_LINE


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


def named(label: SyncLabel | None) -> str:
    """Return what a wait is called on a time line: its cause code and its line; None is the runner's own."""
    if label is None:
        return "pacing"
    return f"{label.code} {label.file}" if label.file == NO_LINE else f"{label.code} {label.file}:{label.line}"
