"""Answers: how does a session become a trace file? Formats know no causes, so the labels of its waits are made here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path, PurePath

from typing_extensions import assert_never

from syncwatch.analyse.price import prices
from syncwatch.analyse.timeline import Span, timeline_of
from syncwatch.attribute.sites import attribute
from syncwatch.errors import UsageError
from syncwatch.model.finding import Finding
from syncwatch.model.session import Recording, Session
from syncwatch.traces.kineto.dump import dump as dump_kineto
from syncwatch.traces.layout import SyncLabel
from syncwatch.traces.nsys.dump import dump as dump_nsys


class TraceFormat(str, Enum):
    """Which tool the trace is for."""

    NSYS = "nsys"
    PERFETTO = "perfetto"


def export(session: Session, form: TraceFormat, path: Path) -> None:
    """Write `session` to `path`, whole or not at all.

    Raises:
        UsageError: if the file cannot be written, or the tool would not open a file of that name.
        SessionError: if the session is not sound.
    """
    session = _shareable(session)
    if form is TraceFormat.NSYS:
        dump_nsys(session, labels_of(session), path)
    elif form is TraceFormat.PERFETTO:
        dump_kineto(session, labels_of(session), path, bubbles_of(session))
    else:
        assert_never(form)


def labels_of(session: Session) -> tuple[tuple[SyncLabel | None, ...], ...]:
    """Return the label of every sync, for each recording in the order of its `syncs`; None for the runner's own."""
    return tuple(_labels(recording) for recording in session.recordings)


def bubbles_of(session: Session) -> tuple[tuple[Span | None, ...], ...]:
    """Return when the GPU stood idle because of each sync, in the order of the `syncs`; None where it never did."""
    return tuple(_bubbles(recording) for recording in session.recordings)


def only(session: Session, variants: Sequence[str]) -> Session:
    """Return `session` with these variants alone; as it is where none is named.

    Raises:
        UsageError: if it has no variant of a name.
    """
    known = [recording.variant for recording in session.recordings]
    for name in variants:
        if name not in known:
            raise UsageError(f"The run has no variant {name!r}. It has {', '.join(known) or 'none at all'}.")
    if not variants:
        return session
    return replace(session, recordings=tuple(each for each in session.recordings if each.variant in variants))


def untimed(session: Session) -> tuple[int, int]:
    """Return how many waits and how many copies have no time, so that no time line can show them."""
    syncs = [each for recording in session.recordings for each in recording.syncs]
    copies = [each for recording in session.recordings for each in recording.copies or ()]
    return (
        sum(each.start_ns is None or each.end_ns is None for each in syncs),
        sum(each.start_ns is None or each.end_ns is None for each in copies),
    )


def _bubbles(recording: Recording) -> tuple[Span | None, ...]:
    priced = prices(recording, timeline_of(recording))
    found = (priced.get(id(sync)) for sync in recording.syncs)
    return tuple(price.idle if price is not None and price.idle_ns else None for price in found)


def _labels(recording: Recording) -> tuple[SyncLabel | None, ...]:
    findings = {id(item.sync): item.finding for item in attribute(recording)}
    return tuple(_label(findings.get(id(sync))) for sync in recording.syncs)


def _label(finding: Finding | None) -> SyncLabel | None:
    if finding is None:
        return None
    return SyncLabel(finding.code, finding.title, finding.file, finding.line, finding.function)


def _shareable(session: Session) -> Session:
    """Return `session` without the folders of a target that was named by an absolute path: traces are passed on."""
    target = PurePath(session.target)
    return replace(session, target=target.name) if target.is_absolute() else session
