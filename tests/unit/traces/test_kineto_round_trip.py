"""What goes out to Perfetto comes back as the session it was, to the nanosecond, whatever lies in it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncwatch.app.export import labels_of
from syncwatch.errors import SessionError
from syncwatch.model.codec import encode
from syncwatch.model.events import Call
from syncwatch.model.session import Session, decode_session
from syncwatch.pipeline import analysed
from syncwatch.traces.kineto.dump import dump
from syncwatch.traces.kineto.load import load
from syncwatch.traces.layout import SyncLabel
from tests.helpers.any_session import LONGEST_HOLD_NS, sessions
from tests.helpers.fakes import gdn_session, session
from tests.helpers.hostile import NAMES
from tests.helpers.simulated import EventSync, Launch, Op, Read, Record, StreamWait, run

TIMES = st.integers(0, 2**62 - LONGEST_HOLD_NS) | st.integers(0, 5_000)
SPANS = st.tuples(TIMES, TIMES).map(lambda pair: (min(pair), max(pair)))


def labelled(session: Session, label: SyncLabel) -> list[list[SyncLabel | None]]:
    return [[None if sync.pacing else label for sync in each.syncs] for each in session.recordings]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    sessions(NAMES, SPANS),
    st.builds(SyncLabel, st.just("SW101"), st.just("title"), NAMES, st.integers(0, 4), NAMES),
    st.booleans(),
)
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
    dump(session, labels_of(analysed(session)), tmp_path / "run.json")
    assert load(tmp_path / "run.json") == session


def test_times_of_the_epoch_keep_their_nanoseconds(tmp_path: Path) -> None:
    session = gdn_session()
    naive = session.recordings[0]
    at = 1_795_233_953_358_790_129
    exact = replace(naive, syncs=(replace(naive.syncs[0], start_ns=at, end_ns=at + 1),))
    session = replace(session, recordings=(exact,))
    dump(session, labels_of(analysed(session)), tmp_path / "run.json")
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
    dump(session, labels_of(analysed(session)), path)
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(SessionError, match=r"(damaged|is no trace).*\."):
        load(path)


def test_what_a_replay_needs_comes_back(tmp_path: Path) -> None:
    program: list[list[Op]] = [
        [Launch(300_000), Record(7), StreamWait(7, 20), Launch(50_000, 20), Read(3), EventSync(7, 1)]
    ] * 3
    known, _ = run(program, watching=5_000)
    marked = tuple(replace(each, before_ns=7, after_ns=9) for each in known.steps)
    kept = session(replace(known, launch_watch_ns=700, steps=marked))
    dump(kept, labels_of(analysed(kept)), tmp_path / "run.json")

    assert kept.recordings[0].event_calls
    assert load(tmp_path / "run.json") == kept
