"""Sessions are written to files and read back unchanged; files that are no session are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncwatch.errors import SessionError
from syncwatch.model.codec import encode, write_json
from syncwatch.model.events import EventCall, Step
from syncwatch.model.session import SESSION_SCHEMA, Session, decode_session
from tests.helpers.fakes import gdn_session

# msgspec reads integers of 64 bits, and JSON no infinity; a name may hold anything but half a surrogate pair.
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(int, st.integers(-(2**63), 2**63 - 1))
st.register_type_strategy(str, st.text(st.characters(exclude_categories=["Cs"]), max_size=20))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.from_type(Session))
def test_a_written_session_is_read_as_it_was(session: Session) -> None:
    known = replace(session, schema=SESSION_SCHEMA)
    assert decode_session(encode(known)) == known


def test_a_saved_session_loads_as_it_was(tmp_path: Path) -> None:
    gdn_session().save(tmp_path / "session.json")
    assert Session.load(tmp_path / "session.json") == gdn_session()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": ()}, "points at a frame that is not there"),
        ({"stacks": ()}, "points at a stack that is not there"),
        ({"threads": ()}, "points at a thread that is not there"),
        ({"steps": (Step(0, False, 5, 4),)}, "ends before it begins"),
        ({"steps": (Step(0, False, 0, 1), Step(0, False, 1, 2))}, "two steps have one number"),
        ({"rounds_ns": ((-1,),)}, "no time that can be"),
        ({"launch_watch_ns": -1}, "watching took a time that cannot be"),
        ({"steps": (Step(0, False, 0, 1, -7),)}, "watching took a time that cannot be"),
        ({"event_calls": (EventCall(1, 7, False, 99, 0),)}, "points at a thread that is not there"),
    ],
)
def test_a_session_that_cannot_be_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    known = gdn_session()
    broken = replace(known, recordings=(replace(known.recordings[0], **change), *known.recordings[1:]))
    broken.save(tmp_path / "session.json")
    with pytest.raises(SessionError, match=words):
        Session.load(tmp_path / "session.json")


def test_a_file_that_is_no_session_is_refused_with_a_sentence(tmp_path: Path) -> None:
    for number, content in enumerate([b"", b"{", b"[]", b'{"schema": 3}', b"\xff\xfe", b"[" * 100_000]):
        path = tmp_path / f"{number}.json"
        path.write_bytes(content)
        with pytest.raises(SessionError, match="is not a syncwatch session"):
            Session.load(path)


def test_another_schema_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    gdn_session().save(path)
    path.write_text(path.read_text().replace("syncwatch.session/1", "syncwatch.session/9"))
    with pytest.raises(SessionError, match=r"syncwatch\.session/9"):
        Session.load(path)


def test_a_missing_file_is_refused_with_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="Give a file"):
        Session.load(tmp_path / "none.json")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_json({"cannot": object()}, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_file_is_json_that_anyone_reads(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    gdn_session().save(path)
    assert json.loads(path.read_text())["target"] == "gdn-prefill"


def test_a_file_name_that_is_no_unicode_is_saved_with_its_bad_parts_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run.json"

    replace(gdn_session(), target="bad\udcff.py").save(path)

    assert Session.load(path).target == "bad?.py"
