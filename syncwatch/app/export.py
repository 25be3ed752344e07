"""Makes a session into a trace file. Formats know no causes, so the labels of its waits are made here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path, PurePath

from typing_extensions import assert_never

from syncwatch.errors import UsageError
from syncwatch.model.analysis import AnalysedWait, Analysis, Finding, Span
from syncwatch.model.session import Session
from syncwatch.traces.kineto.dump import dump as dump_kineto
from syncwatch.traces.layout import SyncLabel
from syncwatch.traces.nsys.dump import dump as dump_nsys


class TraceFormat(str, Enum):
    """Which tool the trace is for."""

    NSYS = "nsys"
    PERFETTO = "perfetto"


def export(analysis: Analysis, form: TraceFormat, path: Path) -> None:
    """Write the session of `analysis` to `path`, whole or not at all.

    Raises:
        UsageError: if the file cannot be written, or the tool would not open a file of that name.
        SessionError: if the session is not sound.
    """
    session = _shareable(analysis.session)
    if form is TraceFormat.NSYS:
        dump_nsys(session, labels_of(analysis), path)
    elif form is TraceFormat.PERFETTO:
        dump_kineto(session, labels_of(analysis), path, bubbles_of(analysis))
    else:
        assert_never(form)


def labels_of(analysis: Analysis) -> tuple[tuple[SyncLabel | None, ...], ...]:
    """Return the label of every wait, for each recording in their order; None for the runner's own."""
    return tuple(tuple(_label(wait.finding) for wait in each.waits) for each in analysis.recordings)


def bubbles_of(analysis: Analysis) -> tuple[tuple[Span | None, ...], ...]:
    """Return when the GPU stood idle because of each wait, for each recording in their order; None where never."""
    return tuple(tuple(_bubble(wait) for wait in each.waits) for each in analysis.recordings)


def only_variants(session: Session, variants: Sequence[str]) -> Session:
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


def count_untimed(session: Session) -> tuple[int, int]:
    """Return how many waits and how many copies have no time, so that no time line can show them."""
    syncs = [each for recording in session.recordings for each in recording.syncs]
    copies = [each for recording in session.recordings for each in recording.copies or ()]
    return (
        sum(each.start_ns is None or each.end_ns is None for each in syncs),
        sum(each.start_ns is None or each.end_ns is None for each in copies),
    )


def _bubble(wait: AnalysedWait) -> Span | None:
    return wait.bubble if wait.price is not None and wait.price.bubble_ns else None


def _label(finding: Finding | None) -> SyncLabel | None:
    if finding is None:
        return None
    return SyncLabel(finding.code, finding.title, finding.file, finding.line, finding.function)


def _shareable(session: Session) -> Session:
    """Return `session` without the folders of a target that was named by an absolute path: traces are passed on."""
    target = PurePath(session.target)
    return replace(session, target=target.name) if target.is_absolute() else session
