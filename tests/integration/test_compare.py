"""`syncwatch compare` on saved runs, as a user types it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from syncwatch.app.report import open_run, write_run
from syncwatch.pipeline import analysed
from tests.helpers.command import Ended, syncwatch
from tests.helpers.fakes import gdn_session, later_gdn_session, recording, session, steps


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return a folder with a run file and a bare session, before and after a change."""
    write_run(analysed(gdn_session()), tmp_path / "before.json")
    later_gdn_session().save(tmp_path / "after.json")
    return tmp_path


def refused(ended: Ended, code: int, *said: str) -> None:
    assert (ended.code, ended.out) == (code, ""), ended.err
    assert ended.err.startswith("error: ") and "Traceback" not in ended.err
    for words in said:
        assert words in ended.err


def test_a_run_file_and_a_session_are_compared(runs: Path) -> None:
    ended = syncwatch("compare", "before.json", "after.json", cwd=runs)
    assert (ended.code, ended.err) == (0, "")
    assert "before: before.json: gdn-prefill on NVIDIA H200" in ended.out
    assert "naive: of 5 lines 2 gone, 1 new, 1 changed, 1 as before" in ended.out
    assert "lengths = seq_lens.tolist()" in ended.out
    assert "after: 1.039x faster" in ended.out and "precomputed: no line waits in either run" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 100


def test_one_variant_of_each_run_is_chosen_and_shown_as_json(runs: Path) -> None:
    ended = syncwatch(
        "compare", "before.json", "after.json", "--variant", "naive:precomputed", "--format", "json", cwd=runs
    )
    found = json.loads(ended.out)
    assert (ended.code, found["schema"]) == (0, "syncwatch.difference/1")
    (variant,) = found["variants"]
    assert (variant["before"]["variant"], variant["after"]["variant"]) == ("naive", "precomputed")
    assert {line["change"] for line in variant["lines"]} == {"gone"}
    assert variant["comparison"]["step_time_ratio"] > 1


def test_bad_input_ends_in_a_sentence(runs: Path) -> None:
    (runs / "none.json").write_text("{}")
    session(recording(steps=steps(1, warmup=1))).save(runs / "warm.json")
    refused(syncwatch("compare", "before.json", "gone.json", cwd=runs), 2, "Cannot read gone.json")
    refused(syncwatch("compare", "before.json", "none.json", cwd=runs), 2, "none.json is not a syncwatch session")
    refused(syncwatch("compare", "before.json", "warm.json", cwd=runs), 3, "warm.json holds no measured step")
    refused(
        syncwatch("compare", "before.json", "after.json", "--variant", "naiv", cwd=runs), 2, "Choose from naive, precom"
    )
    refused(syncwatch("compare", "before.json", "after.json", "--variant", "naive:", cwd=runs), 2, "BEFORE:AFTER")


def test_a_file_with_a_hostile_target_is_shown_and_not_acted_upon(runs: Path) -> None:
    replace(gdn_session(), target="\x1b[31m[red]x").save(runs / "hostile.json")
    ended = syncwatch("compare", "before.json", "hostile.json", cwd=runs)
    assert ended.code == 0
    assert "\x1b" not in ended.out and "\\x1b[31m[red]x" in ended.out


def test_a_run_file_of_an_older_report_is_analysed_anew_and_has_its_gains(tmp_path: Path) -> None:
    older = Path(__file__).parents[1] / "data" / "run_of_report_1.json"
    assert json.loads(older.read_text())["schema"] == "syncwatch.report/1"
    shutil.copy(older, tmp_path / "older.json")
    again = syncwatch("report", "older.json", "--format", "json=report.json", cwd=tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert (again.code, again.err, report["schema"]) == (0, "", "syncwatch.report/2")
    assert report["variants"][0]["per_step"]["gain_us"] > 0
    assert all(site["gain_us"] is not None for site in report["variants"][0]["sites"])
    write_run(open_run(older, None), tmp_path / "newer.json")
    ended = syncwatch("compare", "older.json", "newer.json", cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert "watched: of 3 lines 3 as before" in ended.out and "Removing the implicit waits was to gain" in ended.out
