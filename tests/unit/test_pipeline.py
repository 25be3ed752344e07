"""A run file holds the report and the recording it came from; an empty session has a report too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from syncwatch.app.report import write_run
from syncwatch.model.session import Session
from syncwatch.pipeline import analysed, report_of
from tests.helpers.fakes import gdn_session, session


def test_one_file_holds_the_report_and_the_recording_it_came_from(tmp_path: Path) -> None:
    # GIVEN
    known, path = gdn_session(), tmp_path / "run.json"

    # WHEN
    write_run(analysed(known), path)

    # THEN `jq` finds the contract, and every later command the session
    document = json.loads(path.read_text())
    assert document["schema"] == "syncwatch.report/2"
    assert document["variants"][0]["per_step"]["syncs"] == 10 / 3
    assert document["comparison"]["outputs_equal"] is True
    loaded = Session.load(path)
    assert loaded == known
    assert report_of(loaded) == report_of(known)


def test_a_session_without_anything_is_still_a_report() -> None:
    assert report_of(replace(session(), outputs_equal=None)).sites == ()
