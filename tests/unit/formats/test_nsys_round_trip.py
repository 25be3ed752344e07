"""What goes out to nsys' tables comes back as the session it was, whatever lies in it."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncwatch.errors import SessionError
from syncwatch.exporting import labels_of
from syncwatch.formats.labels import SyncLabel
from syncwatch.formats.nsys.dump import dump
from syncwatch.formats.nsys.load import load
from syncwatch.model.events import (
    Call,
    CopyEvent,
    Direction,
    Frame,
    HostMemory,
    KernelEvent,
    RangeEvent,
    Step,
    SyncEvent,
    SyncKind,
)
from syncwatch.model.session import Coverage, DeviceKind, Environment, Recorder, Recording, Session
from tests.fakes import gdn_session

T = TypeVar("T")

ODD = ("", " ", "a:b/c@d", "x" * 5000, "\x00nul\x1b", "漢字 🧵", "'; DROP TABLE StringIds; --")
NAMES = st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
SPANS = st.tuples(st.integers(-1000, 4000), st.integers(0, 500)).map(lambda pair: (pair[0], sum(pair)))
SMALL = st.integers(0, 3)
STREAMS = st.integers(0, 9)


def maybe(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    return st.none() | strategy


@st.composite
def calls(draw: st.DrawFn, threads: int) -> Call:
    return Call(draw(st.integers(0, threads - 1)), draw(NAMES.filter(bool)), *draw(SPANS))


@st.composite
def waits(draw: st.DrawFn, threads: int, stacks: int, nests: int, known: list[Call]) -> SyncEvent:
    span = draw(maybe(SPANS))
    thread, api = draw(st.integers(0, threads - 1)), draw(maybe(NAMES.filter(bool)))
    if draw(st.booleans()) and known:
        # As a copy that holds the host, or one with a synchronization behind it.
        call: Call = draw(st.sampled_from(known))
        thread, api, span = call.thread, call.name, (call.start_ns, call.end_ns + draw(st.integers(0, 50)))
    start, end = span if span is not None else (None, None)
    return SyncEvent(
        step=draw(maybe(SMALL)),
        thread=thread,
        kind=draw(st.sampled_from(SyncKind)),
        explicit=draw(st.booleans()),
        op=draw(maybe(NAMES)),
        stack=draw(maybe(st.integers(0, stacks - 1))) if stacks else None,
        stream=draw(maybe(STREAMS)),
        start_ns=start,
        end_ns=end,
        pacing=draw(st.booleans()),
        seen_by=tuple(draw(st.lists(NAMES, max_size=2))),
        api=api,
        within=draw(maybe(st.integers(0, nests - 1))) if nests else None,
        allowed=draw(maybe(NAMES)),
        device=draw(SMALL),
    )


@st.composite
def copies(draw: st.DrawFn, threads: int, stacks: int, known: list[Call]) -> CopyEvent:
    span = draw(maybe(SPANS))
    start, end = span if span is not None else (None, None)
    return CopyEvent(
        step=draw(maybe(SMALL)),
        thread=draw(st.integers(0, threads - 1)),
        direction=draw(st.sampled_from(Direction)),
        memory=draw(maybe(st.sampled_from(HostMemory))),
        bytes=draw(st.integers(0, 2**40)),
        blocking=draw(maybe(st.booleans())),
        op=draw(maybe(NAMES)),
        stack=draw(maybe(st.integers(0, stacks - 1))) if stacks else None,
        stream=draw(maybe(STREAMS)),
        start_ns=start,
        end_ns=end,
        call=draw(maybe(st.sampled_from(known))) if known else None,
        device=draw(SMALL),
    )


@st.composite
def kernels(draw: st.DrawFn, known: list[Call]) -> KernelEvent:
    return KernelEvent(
        draw(maybe(SMALL)),
        draw(STREAMS),
        draw(NAMES),
        *draw(SPANS),
        call=draw(maybe(st.sampled_from(known))) if known else None,
        device=draw(SMALL),
        memset_bytes=draw(maybe(st.integers(0, 2**40))),
    )


@st.composite
def recordings(draw: st.DrawFn, name: str) -> Recording:
    threads = tuple(draw(st.lists(NAMES, min_size=1, max_size=3)))
    frames = tuple(draw(st.lists(st.builds(Frame, NAMES, SMALL, NAMES, NAMES, maybe(NAMES)), max_size=3)))
    stacks = tuple((index,) for index in range(len(frames)))
    nests = tuple(tuple(names) for names in draw(st.lists(st.lists(NAMES, min_size=1, max_size=3), max_size=2)))
    known = draw(st.lists(calls(len(threads)), max_size=4))
    ranges = st.builds(
        lambda thread, text, span: RangeEvent(thread, text, *span), st.integers(0, len(threads) - 1), NAMES, SPANS
    )
    steps = draw(st.lists(st.tuples(st.booleans(), SPANS), max_size=3))
    return Recording(
        variant=name,
        steps=tuple(Step(index, warmup, *span) for index, (warmup, span) in enumerate(steps)),
        rounds_ns=tuple(draw(st.lists(st.lists(SMALL, max_size=2).map(tuple), max_size=2))),
        modelled=draw(st.booleans()),
        threads=threads,
        frames=frames,
        stacks=stacks,
        syncs=tuple(draw(st.lists(waits(len(threads), len(stacks), len(nests), known), max_size=5))),
        copies=draw(maybe(st.lists(copies(len(threads), len(stacks), known), max_size=5).map(tuple))),
        kernels=draw(maybe(st.lists(kernels(known), max_size=5).map(tuple))),
        ranges=tuple(draw(st.lists(ranges, max_size=5))),
        coverage=Coverage(("a",), (), draw(maybe(SMALL)), 0),
        notes=tuple(draw(st.lists(NAMES, max_size=2))),
        range_stacks=nests,
        figures=({"x": None, "y": 1.5},),
    )


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    names = draw(st.lists(NAMES, max_size=3, unique=True))
    return Session(
        target=draw(NAMES),
        device=draw(st.sampled_from(DeviceKind)),
        environment=Environment("2.13", None, draw(maybe(NAMES)), None, "3.11", "0.1"),
        recordings=tuple(draw(recordings(name)) for name in names),
        outputs_equal=draw(maybe(st.booleans())),
        complete=draw(st.booleans()),
        missing=tuple(draw(st.lists(NAMES, max_size=1))),
        recorder=draw(st.sampled_from(Recorder)),
    )


@settings(max_examples=150, deadline=None)
@given(sessions(), st.booleans())
def test_a_session_comes_back_equal(session: Session, labelled: bool) -> None:
    label = SyncLabel("SW101", "title", "app/train.py", 7, "step") if labelled else None
    labels = [tuple(label for _ in recording.syncs) for recording in session.recordings]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.sqlite"
        dump(session, labels, path)
        assert load(path) == session


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        ("DELETE FROM SYNCWATCH_EVENTS WHERE kind = 'sync'", "some of its rows are missing"),
        ("DELETE FROM SYNCWATCH_EVENTS WHERE kind = 'kernel' AND rowid % 2", "some of its rows are missing"),
        ("DELETE FROM SYNCWATCH_SESSION WHERE key = 'recording 1'", "points at something that is not there"),
        ("DELETE FROM SYNCWATCH_SESSION WHERE key = 'recording 0'", "points at something that is not there"),
        ("DELETE FROM SYNCWATCH_SESSION WHERE key = 'session'", "points at something that is not there"),
        ("DELETE FROM NVTX_EVENTS", "points at something that is not there"),
        ("UPDATE SYNCWATCH_EVENTS SET details = 'x' WHERE kind = 'sync'", "malformed"),
    ],
)
def test_an_export_of_ours_from_which_rows_were_cut_is_refused(tmp_path: Path, cut: str, said: str) -> None:
    path = tmp_path / "run.sqlite"
    session = gdn_session()
    dump(session, labels_of(session), path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute(cut).rowcount > 0
        database.commit()
    with pytest.raises(SessionError, match=rf"run\.sqlite is a damaged export of syncwatch: .*{said}.*\."):
        load(path)
