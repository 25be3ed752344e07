"""For tests: the line and the cause of each wait in a recording, without the waits of syncwatch's own runner."""

from __future__ import annotations

from syncwatch.attribute.sites import attribute
from syncwatch.model.analysis import Finding
from syncwatch.model.session import Recording


def findings_of(recording: Recording) -> list[Finding]:
    """Return the line and the cause of each wait that the target caused, in order."""
    return [finding for finding in attribute(recording) if finding is not None]
