"""Answers: what does a trace file say of each wait? Formats know no causes, so the labels are made here."""

from __future__ import annotations

from syncwatch.attribute.sites import attribute
from syncwatch.formats.labels import SyncLabel
from syncwatch.model.session import Recording, Session


def labels_of(session: Session) -> tuple[tuple[SyncLabel | None, ...], ...]:
    """Return the label of every sync, for each recording in the order of its `syncs`; None for the runner's own."""
    return tuple(_labels(recording) for recording in session.recordings)


def _labels(recording: Recording) -> tuple[SyncLabel | None, ...]:
    found = iter(attribute(recording))
    labels: list[SyncLabel | None] = []
    for sync in recording.syncs:
        if sync.pacing:
            labels.append(None)
            continue
        finding = next(found).finding
        labels.append(SyncLabel(finding.code, finding.title, finding.file, finding.line, finding.function))
    return tuple(labels)
