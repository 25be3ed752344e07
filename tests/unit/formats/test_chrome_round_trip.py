"""What goes out to Perfetto comes back as the session it was, to the nanosecond, whatever lies in it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncwatch.errors import SessionError
from syncwatch.exporting import labels_of
from syncwatch.formats.chrome.dump import dump
from syncwatch.formats.chrome.load import load
from syncwatch.formats.labels import SyncLabel
from syncwatch.model.codec import decode_session, encode
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
from tests.hostile import NAMES

T = TypeVar("T")

TIMES = st.integers(0, 2**62) | st.integers(0, 5_000)
SPANS = st.tuples(TIMES, TIMES).map(lambda pair: (min(pair), max(pair)))
SMALL = st.integers(0, 4)


def maybe(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    return st.none() | strategy


def several(strategy: st.SearchStrategy[T], most: int = 5) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(strategy, max_size=most).map(tuple)


CALLS = st.builds(lambda thread, name, span: Call(thread, name, *span), SMALL, NAMES, SPANS)


@st.composite
def syncs(draw: st.DrawFn, stacks: int, nests: int) -> SyncEvent:
    start, end = draw(SPANS)
    return SyncEvent(
        step=draw(maybe(SMALL)),
        thread=draw(SMALL),
        kind=draw(st.sampled_from(SyncKind)),
        explicit=draw(st.booleans()),
        op=draw(maybe(NAMES)),
        stack=draw(maybe(st.integers(0, stacks - 1))) if stacks else None,
        stream=draw(maybe(st.integers(0, 2**40))),
        start_ns=draw(st.sampled_from((start, None))),
        end_ns=draw(st.sampled_from((end, None))),
        pacing=draw(st.booleans()),
        seen_by=draw(several(NAMES, 2)),
        api=draw(maybe(NAMES | st.sampled_from(("cuStreamSynchronize", "cudaMemcpy")))),
        within=draw(maybe(st.integers(0, nests - 1))) if nests else None,
        allowed=draw(maybe(NAMES)),
        device=draw(SMALL),
    )


@st.composite
def copies(draw: st.DrawFn, stacks: int) -> CopyEvent:
    start, end = draw(SPANS)
    return CopyEvent(
        step=draw(maybe(SMALL)),
        thread=draw(SMALL),
        direction=draw(st.sampled_from(Direction)),
        memory=draw(maybe(st.sampled_from(HostMemory))),
        bytes=draw(st.integers(0, 2**62)),
        blocking=draw(maybe(st.booleans())),
        op=draw(maybe(NAMES)),
        stack=draw(maybe(st.integers(0, stacks - 1))) if stacks else None,
        stream=draw(maybe(SMALL)),
        start_ns=draw(st.sampled_from((start, None))),
        end_ns=draw(st.sampled_from((end, None))),
        call=draw(maybe(CALLS)),
        device=draw(SMALL),
    )


@st.composite
def kernels(draw: st.DrawFn) -> KernelEvent:
    start, end = draw(SPANS)
    return KernelEvent(
        step=draw(maybe(SMALL)),
        stream=draw(SMALL),
        name=draw(NAMES),
        start_ns=start,
        end_ns=end,
        call=draw(maybe(CALLS | st.just(Call(0, "cudaGraphLaunch", 7, 9)))),
        device=draw(SMALL),
        memset_bytes=draw(maybe(st.integers(0, 2**62))),
    )


@st.composite
def recordings(draw: st.DrawFn, name: str) -> Recording:
    frames = draw(several(st.builds(Frame, NAMES, SMALL, NAMES, NAMES, maybe(NAMES), st.booleans()), 3))
    stacks = tuple((index,) for index in range(len(frames)))
    nests = draw(several(several(NAMES, 3), 2))
    steps = draw(several(st.tuples(st.booleans(), SPANS), 3))
    ranges = st.builds(lambda thread, text, span: RangeEvent(thread, text, *span), SMALL, NAMES, SPANS)
    return Recording(
        variant=name,
        steps=tuple(Step(7 - index, warmup, *span) for index, (warmup, span) in enumerate(steps)),
        rounds_ns=draw(several(several(TIMES, 2), 2)),
        modelled=draw(st.booleans()),
        threads=draw(st.tuples(*[NAMES] * 5)),
        frames=frames,
        stacks=stacks,
        syncs=draw(several(syncs(len(stacks), len(nests)))),
        copies=draw(maybe(several(copies(len(stacks))))),
        kernels=draw(maybe(several(kernels()))),
        ranges=draw(several(ranges)),
        coverage=Coverage(draw(several(NAMES, 2)), draw(several(NAMES, 2)), draw(maybe(SMALL)), 0),
        notes=draw(several(NAMES, 2)),
        range_stacks=nests,
        host_build_ns=draw(several(TIMES, 2)),
        figures=({"x": None, "y": draw(st.floats(allow_nan=False, allow_infinity=False))},),
    )


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    variants = draw(st.lists(NAMES, max_size=3, unique_by=lambda name: name.encode("utf-8", "replace")))
    return Session(
        target=draw(NAMES),
        device=draw(st.sampled_from(DeviceKind)),
        environment=draw(st.builds(Environment, NAMES, maybe(NAMES), maybe(NAMES), maybe(NAMES), NAMES, NAMES)),
        recordings=tuple(draw(recordings(name)) for name in variants),
        outputs_equal=draw(maybe(st.booleans())),
        complete=draw(st.booleans()),
        missing=draw(several(NAMES, 2)),
        parameters=draw(maybe(st.dictionaries(NAMES, NAMES, max_size=2))),
        recorder=draw(st.sampled_from(Recorder)),
    )


def labelled(session: Session, label: SyncLabel) -> list[list[SyncLabel | None]]:
    return [[None if sync.pacing else label for sync in each.syncs] for each in session.recordings]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(sessions(), st.builds(SyncLabel, st.just("SW101"), st.just("title"), NAMES, SMALL, NAMES), st.booleans())
def test_a_session_comes_back_as_it_was(session: Session, label: SyncLabel, packed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("run.json.gz" if packed else "run.json")
        idle = [[(1, 2**62)] * len(each.syncs) for each in session.recordings]
        dump(session, labelled(session, label), path, idle)
        assert load(path) == _written(session)


def _written(session: Session) -> Session:
    """Return `session` as JSON can hold it: half a surrogate pair is lost, and nothing else."""
    return decode_session(encode(session))


def test_the_session_of_the_golden_files_comes_back(tmp_path: Path) -> None:
    session = gdn_session()
    dump(session, labels_of(session), tmp_path / "run.json")
    assert load(tmp_path / "run.json") == session


def test_times_of_the_epoch_keep_their_nanoseconds(tmp_path: Path) -> None:
    session = gdn_session()
    naive = session.recordings[0]
    at = 1_795_233_953_358_790_129
    exact = replace(naive, syncs=(replace(naive.syncs[0], start_ns=at, end_ns=at + 1),))
    session = replace(session, recordings=(exact,))
    dump(session, labels_of(session), tmp_path / "run.json")
    assert load(tmp_path / "run.json") == session


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"syncwatch.chrome/1"', '"syncwatch.chrome/9"'),
        ('"kind":"stream"', '"kind":"nothing"'),
        ('"correlation":1', '"correlation":"one"'),
        ('"ph":"X","cat":"syncwatch.sync"', '"ph":7,"cat":"syncwatch.sync"'),
        ('"ph":"X","cat":"syncwatch.step"', '"ph":"i","cat":"syncwatch.step"'),
        ('"ts":80.000,', '"ts":1e400,'),
        ('"stack":0', '"stack":99'),
        ('"recording":1', '"recording":5'),
        ('"origin_ns":0', '"origin_ns":null'),
    ],
)
def test_a_damaged_export_is_refused_with_a_sentence(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "run.json"
    session = gdn_session()
    kernels = session.recordings[0].kernels or ()
    called = replace(kernels[0], call=Call(0, "cudaLaunchKernel", 1, 2))
    naive = replace(session.recordings[0], kernels=(called, *kernels[1:]))
    session = replace(session, recordings=(naive, session.recordings[1]))
    dump(session, labels_of(session), path)
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(SessionError, match=r"(damaged|is no trace).*\."):
        load(path)
