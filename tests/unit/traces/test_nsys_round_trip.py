"""What goes out to nsys' tables comes back as the session it was, whatever lies in it."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncwatch.app.export import labels_of
from syncwatch.errors import SessionError
from syncwatch.model.session import Session
from syncwatch.pipeline import analysed
from syncwatch.traces.layout import SyncLabel
from syncwatch.traces.nsys.dump import dump
from syncwatch.traces.nsys.load import load
from tests.helpers.any_session import sessions
from tests.helpers.fakes import gdn_session

ODD = ("", " ", "a:b/c@d", "x" * 5000, "\x00nul\x1b", "漢字 🧵", "'; DROP TABLE StringIds; --")
NAMES = st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
SPANS = st.tuples(st.integers(-1000, 4000), st.integers(0, 500)).map(lambda pair: (pair[0], sum(pair)))


@settings(max_examples=150, deadline=None)
@given(sessions(NAMES, SPANS), st.booleans())
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
    dump(session, labels_of(analysed(session)), path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute(cut).rowcount > 0
        database.commit()
    with pytest.raises(SessionError, match=rf"run\.sqlite is a damaged export of syncwatch: .*{said}.*\."):
        load(path)
