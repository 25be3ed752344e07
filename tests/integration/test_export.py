"""`syncwatch export` writes a saved run as a trace, whole or not at all, and refuses wrong requests with a sentence."""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.command import Ended, syncwatch
from tests.helpers.fakes import copy, gdn_session, recording, session, sync


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    known = gdn_session()
    timed = tuple(replace(each, copies=()) for each in known.recordings)
    replace(known, recordings=timed).save(tmp_path / "run.json")
    return tmp_path


def export(folder: Path, *arguments: str) -> Ended:
    return syncwatch("export", *arguments, cwd=folder)


def refused(ended: Ended, *said: str) -> None:
    assert (ended.code, ended.out) == (2, ""), ended
    assert ended.err.startswith("error: ") and "Traceback" not in ended.err
    assert all(words in ended.err for words in said), ended.err


def processes(folder: Path, name: str) -> list[tuple[str]]:
    with closing(sqlite3.connect(folder / name)) as database:
        return database.execute("SELECT value FROM SYNCWATCH_SESSION WHERE key LIKE 'recording%'").fetchall()


def test_every_variant_or_one_of_them(folder: Path) -> None:
    ended = export(folder, "run.json", "--format", "nsys", "-o", "run.sqlite")
    assert ended == Ended(
        0, "Wrote run.sqlite. Read it with `nsys stats run.sqlite` or `nsys analyze run.sqlite`.\n", ""
    )
    assert len(processes(folder, "run.sqlite")) == 2

    ended = export(folder, "run.json", "--format", "nsys", "--variant", "naive", "-o", "naive file.sqlite")
    assert (ended.code, ended.err) == (0, "") and "`nsys stats 'naive file.sqlite'`" in ended.out
    (facts,) = processes(folder, "naive file.sqlite")
    assert json.loads(facts[0])["recording"]["variant"] == "naive"


def test_perfetto_is_json_and_packed_by_its_suffix(folder: Path) -> None:
    ended = export(folder, "run.json", "--format", "perfetto", "-o", "run.json.gz")

    assert (ended.code, ended.err) == (0, "") and "ui.perfetto.dev" in ended.out
    assert json.loads(gzip.decompress((folder / "run.json.gz").read_bytes()))["traceEvents"]


def test_what_was_not_timed_is_said(folder: Path) -> None:
    session(recording(syncs=[sync(), sync(at=(1, 2))], copies=[copy()])).save(folder / "lines.json")

    ended = export(folder, "lines.json", "--format", "nsys", "-o", "lines.sqlite")

    assert ended.code == 0
    assert ended.err == "note: 1 wait and 1 copy were not timed, so the time line lacks them.\n"


def test_a_report_of_the_trace_is_the_report_of_the_run(folder: Path) -> None:
    assert export(folder, "run.json", "--format", "nsys", "-o", "run.sqlite").code == 0

    before, after = (syncwatch("report", name, cwd=folder) for name in ("run.json", "run.sqlite"))

    assert (after.code, after.out) == (0, before.out)


def test_what_is_asked_wrongly_is_a_sentence(folder: Path) -> None:
    (folder / "notes.txt").write_text("no session")
    nsys = "--format", "nsys"

    refused(export(folder, "run.json", *nsys, "-o", "run.db"), "has to end in .sqlite, as run.sqlite")
    refused(export(folder, "run.json", *nsys, "-o", "gone/run.sqlite"), "the folder gone does not exist")
    refused(export(folder, "run.json", *nsys, "-o", "run.sqlite", "--variant", "nave"), "It has naive, precomputed")
    refused(export(folder, "notes.txt", *nsys, "-o", "run.sqlite"), "notes.txt")
    refused(export(folder, "gone.json", *nsys, "-o", "run.sqlite"), "gone.json")
    refused(export(folder, "run.json", "--format", "perfetto", "-o", "./run.json"), "it is the run itself")
    refused(export(folder, "run.json", "--format", "perfetto", "-o", "-"), "that is no file")
    ended = export(folder, "run.json", "--format", "chrome", "-o", "run.json")
    assert ended.code == 2 and "'nsys', 'perfetto'" in ended.err
    assert sorted(each.name for each in folder.iterdir()) == ["notes.txt", "run.json"]
