"""Writes a session as Chrome's trace JSON, which Perfetto opens and `load` reads back to the nanosecond."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from syncwatch.errors import UsageError
from syncwatch.model.codec import encode
from syncwatch.model.events import CopyEvent, SyncEvent
from syncwatch.model.paths import replacing
from syncwatch.model.session import DeviceKind, Recording, Session, decode_session
from syncwatch.traces.kineto.notation import OWN_KEY, OWN_SCHEMA
from syncwatch.traces.kineto.slices import Bubble, Slices, Tracks
from syncwatch.traces.layout import SyncLabel

Labels = Sequence[Sequence["SyncLabel | None"]]
Bubbles = Sequence[Sequence["Bubble | None"]]


def dump(session: Session, labels: Labels, path: Path, bubbles: Bubbles | None = None) -> None:
    """Write `session` to `path` as Chrome's trace JSON, packed if the name ends in `.gz`; whole or not at all.

    Every variant is a process whose first moment is at zero. `chrome.load` gives an equal session back, but for lone
    surrogates in names, which JSON cannot hold.

    Args:
        session: what was recorded.
        labels: for each recording the cause and the line of each of its syncs; None for the runner's own waits.
        path: where to.
        bubbles: for each recording the idle time of the GPU that each of its syncs caused, as (start, end) in ns.

    Raises:
        UsageError: if the file cannot be written.
    """
    idle = bubbles if bubbles is not None else [[None] * len(each.syncs) for each in session.recordings]
    try:
        _write(session, labels, path, idle)
    except UnicodeEncodeError:
        plain = [[None if each is None else _plain(each) for each in row] for row in labels]
        _write(decode_session(encode(session)), plain, path, idle)
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror}. Give a file that you may write to.") from error


def _write(session: Session, labels: Labels, path: Path, bubbles: Bubbles) -> None:
    tracks, numbers = count(1), count(1)
    variants = [
        Slices(recording, label, idle, Tracks(recording, place, _described(session, recording), tracks), numbers)
        for place, (recording, label, idle) in enumerate(zip(session.recordings, labels, bubbles, strict=True))
    ]
    base = min((each.origin_ns for each in variants), default=0)
    own = {
        "schema": OWN_SCHEMA,
        "session": replace(session, recordings=tuple(_facts(each) for each in session.recordings)),
        "recordings": [_rest(each) for each in variants],
    }
    head = {OWN_KEY: own, "displayTimeUnit": "ms", "baseTimeNanoseconds": base}
    encoder = msgspec.json.Encoder()
    with _written(path) as file:
        file.write(encoder.encode(head)[:-1] + b',"traceEvents":[')
        separator = b"\n"
        for variant in variants:
            for row in variant.rows():
                file.write(separator + encoder.encode(row))
                separator = b",\n"
        file.write(b"\n]}\n")


def _described(session: Session, recording: Recording) -> str:
    times = "modelled" if recording.modelled else "measured"
    device = "virtual device" if session.device is DeviceKind.VIRTUAL else session.environment.gpu or "GPU"
    return f"{device}, {times} times"


def _facts(recording: Recording) -> Recording:
    """Return `recording` without what has a place in the events."""
    return replace(
        recording,
        steps=(),
        threads=(),
        syncs=(),
        ranges=(),
        copies=None if recording.copies is None else (),
        kernels=None if recording.kernels is None else (),
    )


def _rest(slices: Slices) -> dict[str, Any]:
    recording = slices.recording
    syncs, copies = _untimed(recording.syncs), _untimed(recording.copies or ())
    events = (recording.steps, recording.ranges, recording.kernels or (), recording.copies or (), recording.syncs)
    return {
        "origin_ns": slices.origin_ns,
        "rows": sum(map(len, events)) - len(syncs) - len(copies),
        "untimed_syncs": syncs,
        "untimed_copies": copies,
    }


def _untimed(events: Sequence[SyncEvent | CopyEvent]) -> list[tuple[int, SyncEvent | CopyEvent]]:
    """Return each event that has no time, and so no slice, with its place in the order."""
    return [(place, each) for place, each in enumerate(events) if each.start_ns is None or each.end_ns is None]


def _plain(label: SyncLabel) -> SyncLabel:
    return replace(label, file=_unicode(label.file), function=_unicode(label.function))


def _unicode(text: str) -> str:
    return text.encode("utf-8", errors="replace").decode("utf-8")


@contextlib.contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    with replacing(path) as beside, beside.open("wb") as plain, contextlib.ExitStack() as packed:
        if path.suffix == ".gz":
            # Without a name and a time, so that one session always gives the same bytes.
            yield cast("IO[bytes]", packed.enter_context(gzip.GzipFile("", "wb", 6, plain, mtime=0)))
        else:
            yield plain
