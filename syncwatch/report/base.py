"""What a reporter is: its options are in its constructor, and it renders a report to text."""

from __future__ import annotations

from typing import ClassVar, Protocol

from syncwatch.model.finding import Report


class Reporter(Protocol):
    """One output format."""

    suffix: ClassVar[str]
    """What a file of this format ends with, as `.json`."""

    def render(self, report: Report) -> str:
        """Return `report` in this format, ending in a newline."""
