from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from syncwatch.model.session import Session
from syncwatch.pipeline import report_of, write_run
from tests.fakes import gdn_session, recording, session, steps, sync


def test_one_file_holds_the_report_and_the_recording_it_came_from(tmp_path: Path) -> None:
    # GIVEN
    known, path = gdn_session(), tmp_path / "run.json"

    # WHEN
    write_run(known, path)

    # THEN `jq` finds the contract, and every later command the session
    document = json.loads(path.read_text())
    assert document["schema"] == "syncwatch.report/1"
    assert document["variants"][0]["per_step"]["syncs"] == 10 / 3
    assert document["comparison"]["outputs_equal"] is True
    loaded = Session.load(path)
    assert loaded == known
    assert report_of(loaded) == report_of(known)


def test_a_hundred_thousand_events_are_reported_within_two_seconds() -> None:
    # GIVEN
    count = 100_000
    syncs = [sync(index % 1000, at=(10 * index, 10 * index + 5)) for index in range(count)]
    known = session(recording(syncs=syncs, steps=steps(1000, each_ns=1000)))

    # WHEN
    began = time.perf_counter()
    report = report_of(known)

    # THEN
    assert time.perf_counter() - began < 2
    assert report.variants[0].sites[0].calls == count


def test_a_session_without_anything_is_still_a_report() -> None:
    assert report_of(replace(session(), outputs_equal=None)).sites == ()
