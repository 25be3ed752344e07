"""Files that a command is given: what is read, what is run, what may be written over, and what is refused."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path

import pytest

from syncwatch.app.report import write_run
from syncwatch.cli.outputs import require_apart
from syncwatch.errors import UsageError
from syncwatch.pipeline import analysed
from tests.helpers.command import syncwatch
from tests.helpers.fakes import gdn_session

RAN = "open('ran', 'w').close()\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", b'{"target": "train.py", '),
        ("broken.json", RAN.encode()),
        ("notes.txt", RAN.encode()),
        ("model.pt", b"PK\x03\x04" + bytes(100)),
        ("trace.sqlite", RAN.encode()),
        ("train", b"#!/usr/bin/env python\n" + RAN.encode()),
        ("a:b", RAN.encode()),
        ("old.gz", gzip.compress(RAN.encode(), mtime=0)),
        ("empty.log", b""),
    ],
)
def test_a_file_that_is_no_run_is_refused_and_never_executed(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / name).chmod(0o755)
    for command in ("gate", "run"):
        ended = syncwatch(command, name, "--device", "virtual", cwd=tmp_path)
        assert ended.code == 2, ended.out + ended.err
        assert ended.err.count("error: ") == 1 and name in ended.err and "Traceback" not in ended.err
        assert not (tmp_path / "ran").exists()


def test_a_run_of_any_name_is_judged(tmp_path: Path) -> None:
    write_run(analysed(gdn_session()), tmp_path / "kept.txt")
    assert syncwatch("gate", "kept.txt", "--variant", "naive", cwd=tmp_path).code == 1


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(RAN)
    return path


def test_nothing_is_written_over_what_the_command_reads(tmp_path: Path, source: Path) -> None:
    (tmp_path / "syncwatch.toml").write_text("strict = true\n")
    (tmp_path / "link.json").symlink_to("syncwatch.toml")
    os.link(source, tmp_path / "hard.html")
    for outputs in (
        ("-o", "train.py"),
        ("--format", "html=train.py"),
        ("--format", "html=hard.html"),
        ("--format", "json=link.json"),
        ("--format", f"json={tmp_path}/.syncwatch-baseline.jsonl"),
        ("--format", "html=other.py"),
    ):
        ended = syncwatch("gate", "train.py", "--device", "virtual", *outputs, cwd=tmp_path)
        assert ended.code == 2 and "Cannot write" in ended.err, outputs
    assert source.read_text() == RAN and not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("utils.py", "import syncwatch\n"),
        ("pyproject.toml", "[tool.syncwatch]\n"),
        ("README.md", "# How we use syncwatch\n"),
        ("package.json", "{}\n"),
        ("index.html", "<p>Welcome</p>\n"),
        ("notes.txt", "remember the milk\n"),
        ("trace.json", '{"traceEvents": []}\n'),
        ("profile.nsys-rep", "syncwatch\n"),
    ],
)
def test_a_file_of_somebody_elses_is_not_written_over(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=f"Cannot write .*{name}: "):
        require_apart([tmp_path / name], {})


def test_a_report_of_ours_is_written_over_in_every_format(tmp_path: Path) -> None:
    write_run(analysed(gdn_session()), tmp_path / "run.json")
    forms = ("terminal", "json", "junit", "sarif", "github", "markdown", "html")
    files = {form: tmp_path / f"report.{'md' if form == 'markdown' else form}" for form in forms}
    asked = [word for form, path in files.items() for word in ("--format", f"{form}={path}")]
    for _ in range(2):
        ended = syncwatch("report", "run.json", *asked, cwd=tmp_path)
        assert ended.code == 0, ended.err
    (tmp_path / "empty.xml").touch()
    require_apart([tmp_path / "run.json", tmp_path / "empty.xml", Path("/dev/null"), *files.values()], {})


def test_the_summary_of_a_job_is_written_whatever_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# The tests passed\n")
    with pytest.raises(UsageError):
        require_apart([summary], {})
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    require_apart([summary], {})


def test_two_outputs_are_not_one_file_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "b.json").symlink_to("a.json")
    (tmp_path / "folder").symlink_to(tmp_path)
    for other in ("b.json", "folder/a.json", "./a.json"):
        with pytest.raises(UsageError, match="are one file"):
            require_apart([tmp_path / "a.json", tmp_path / other], {})


BASE = """
import torch
def step(x):
    return x.sum().item()
x = torch.ones(3, device="cuda")
step(x)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "train.py").write_text(BASE)
    return tmp_path


def test_a_baseline_holds_from_every_folder_of_the_project(repository: Path) -> None:
    made = syncwatch("gate", "train.py", "--device", "virtual", "--update-baseline", cwd=repository)
    assert made.code == 0, made.err
    before = (repository / ".syncwatch-baseline.jsonl").read_text()
    for folder, target in (
        (repository / "sub", "../train.py"),
        (repository, "./train.py"),
        (repository, str(repository / "train.py")),
        (repository / "sub", str(repository / "train.py")),
    ):
        ended = syncwatch("gate", target, "--device", "virtual", "--update-baseline", cwd=folder)
        assert ended.code == 0, ended.err
        assert "nothing changed" in ended.err
    assert (repository / ".syncwatch-baseline.jsonl").read_text() == before


def test_an_entry_that_was_written_from_a_folder_below_still_holds(repository: Path) -> None:
    shutil.move(repository / "train.py", repository / "sub" / "train.py")
    (repository / "sub" / "lib.py").write_text("def read(x):\n    return x.sum().item()\n")
    (repository / "sub" / "train.py").write_text(
        "import torch\nfrom lib import read\nread(torch.ones(3, device='cuda'))\n"
    )
    key = {"path": "lib.py", "function": "read", "code": "SW101", "source": "return x.sum().item()"}
    entry = {**key, "target": "train.py", "variant": "watched", "sites": 1, "calls_per_step": 1.0}
    baseline = repository / ".syncwatch-baseline.jsonl"
    baseline.write_text(f'{{"schema":"syncwatch.baseline/1"}}\n{json.dumps(entry)}\n')

    held = syncwatch("gate", "train.py", "--device", "virtual", "--strict", cwd=repository / "sub")
    assert held.code == 0, held.out + held.err
    renewed = syncwatch("gate", "train.py", "--device", "virtual", "--update-baseline", cwd=repository / "sub")
    assert "nothing changed" in renewed.err
    assert json.loads(baseline.read_text().splitlines()[1]) == {**entry, "path": "sub/lib.py", "target": "sub/train.py"}
    assert syncwatch("gate", "sub/train.py", "--device", "virtual", cwd=repository).code == 0


def test_an_update_names_what_is_new_and_what_rose(repository: Path) -> None:
    syncwatch("gate", "train.py", "--device", "virtual", "--update-baseline", cwd=repository)
    (repository / "train.py").write_text(BASE + "step(x)\nstep(x)\nx.tolist()\n")
    ended = syncwatch("gate", "train.py", "--device", "virtual", "--update-baseline", cwd=repository)
    assert ended.code == 0
    assert ".syncwatch-baseline.jsonl: 1 new, 1 raised." in ended.err
    assert "raised train.py:4 SW101 return x.sum().item(): 1 -> 3 calls a step" in ended.err
    assert "new train.py:9 SW102 x.tolist(): 1 call a step" in ended.err

    (repository / "train.py").write_text(BASE)
    lowered = syncwatch("gate", "train.py", "--device", "virtual", "--update-baseline", cwd=repository)
    assert ".syncwatch-baseline.jsonl: 1 lowered, 1 removed." in lowered.err
