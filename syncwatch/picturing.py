"""Answers: what does a picture of a session need beside its report? Each wait with its line and its price."""

from __future__ import annotations

from syncwatch.analyse.price import prices
from syncwatch.analyse.timeline import timeline_of
from syncwatch.attribute.sites import attribute
from syncwatch.model.session import Recording, Session
from syncwatch.report.html.waits import Wait


def waits_of(session: Session) -> tuple[tuple[Wait, ...], ...]:
    """Return the waits of each recording of `session`, in the order they were recorded, the runner's pacing too."""
    return tuple(_waits(recording) for recording in session.recordings)


def _waits(recording: Recording) -> tuple[Wait, ...]:
    costs = prices(recording, timeline_of(recording))
    findings = {id(item.sync): item.finding for item in attribute(recording)}
    waits = []
    for sync in recording.syncs:
        cost = costs.get(id(sync))
        waits.append(
            Wait(
                sync=sync,
                finding=findings.get(id(sync)),
                drain_ns=cost.drain_ns if cost else None,
                overhead_ns=cost.overhead_ns if cost else None,
                idle=cost.idle if cost else None,
                stream_idle_ns=cost.stream_idle_ns if cost else None,
            )
        )
    return tuple(waits)
