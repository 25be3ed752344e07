"""What a machine reads: the public JSON contract, `syncwatch.report/1`."""

from __future__ import annotations

from typing import ClassVar

from syncwatch.model.codec import encode
from syncwatch.model.finding import Report


class JsonReporter:
    """Renders the records as they are; what was not measured is null."""

    suffix: ClassVar[str] = ".json"

    def render(self, report: Report) -> str:
        """Return `report` as indented JSON."""
        return encode(report).decode()
