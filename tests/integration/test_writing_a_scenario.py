"""The tutorial's scenario, as the page has it, in a package of its own: listed, run, gated and refused."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import pytest

from tests.helpers.command import ROOT, Ended, syncwatch

PAGE = (ROOT / "docs" / "writing-a-scenario.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^syncwatch (.+?) +# exit (\d)(?:: (.*))?$", PAGE, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tutorial's package, as an editable install would have it."""
    folder = tmp_path_factory.mktemp("lookup")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (point,) = re.findall(r'^\[project\.entry-points\."(.+)"\]\n(.+)$', FILES["pyproject.toml"], flags=re.MULTILINE)
    install(folder, point[1].replace('"', ""))
    return folder


def install(folder: Path, line: str) -> None:
    info = folder / "lookup-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lookup\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[syncwatch.scenarios]\n{line}\n")


def command(folder: Path, *words: str) -> Ended:
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return syncwatch(*words, cwd=folder, env={"PYTHONPATH": path})


def test_the_page_has_three_files_of_some_thirty_lines() -> None:
    lines = [line for name, text in FILES.items() if name.endswith(".py") for line in text.splitlines() if line.strip()]

    assert sorted(FILES) == ["lookup/__init__.py", "lookup/work.py", "pyproject.toml"]
    assert len(lines) < 35


@pytest.mark.parametrize(("words", "code", "said"), COMMANDS, ids=[words for words, _, _ in COMMANDS])
def test_the_commands_of_the_page_end_as_it_says(folder: Path, words: str, code: str, said: str) -> None:
    ended = command(folder, *shlex.split(words))

    assert ended.code == int(code), ended.err
    assert code != "2" or ended.err == f"error: {said}\n"


def test_the_report_has_the_options_and_the_line_that_waits(folder: Path, tmp_path: Path) -> None:
    ended = command(folder, "run", "lookup", "--device", "virtual", "--share", "0.25", "-o", str(tmp_path / "run.json"))
    report = json.loads((tmp_path / "run.json").read_bytes())

    assert ended.code == 0, ended.err
    assert (report["target"], report["parameters"]) == ("lookup", {"rows": "256", "share": "0.25"})
    naive, precomputed = report["variants"]
    (site,) = naive["sites"]
    assert FILES["lookup/work.py"].splitlines()[site["line"] - 1].strip().startswith("return self.table[self.mask")
    assert (site["file"], precomputed["sites"], report["comparison"]["outputs_equal"]) == ("lookup/work.py", [], True)


def test_its_options_are_in_the_list_and_in_the_help(folder: Path) -> None:
    listed, shown = command(folder, "list", "lookup"), command(folder, "gate", "lookup", "--help")

    for ended in (listed, shown):
        assert ended.code == 0, ended.err
        text = " ".join(ended.out.split())
        assert "--rows" in text and "4096, virtual 256" in text and "Share of the rows" in text
        assert "--cache-miss" not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("lookup --shore 1", "--shore means nothing in lookup. Did you mean --share?"),
        ("lookup --tokens 1", "--tokens means nothing in lookup. Leave it out."),
        ("--rows many lookup", "--rows takes a whole number, and 'many' is none. Give one at least 1."),
    ],
)
def test_what_it_does_not_take_is_refused_before_anything_runs(folder: Path, words: str, said: str) -> None:
    ended = command(folder, "run", *words.split())

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {said}") and "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("broken = nowhere:SCENARIO", "'broken' cannot be loaded from nowhere:SCENARIO (ModuleNotFoundError"),
        ("other = lookup:SCENARIO", "leads to lookup:SCENARIO, a scenario called 'lookup'"),
        ("odd = lookup:Options", "lookup:Options is of type type, and no scenario"),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_named_and_hides_no_other(
    folder: Path, tmp_path: Path, line: str, said: str
) -> None:
    (tmp_path / "lookup").mkdir()
    (tmp_path / "lookup" / "__init__.py").write_text(FILES["lookup/__init__.py"])
    install(tmp_path, line)

    listed, run = command(tmp_path, "list"), command(tmp_path, "run", line.partition(" ")[0], "--device", "virtual")

    assert listed.code == 0 and "gdn-prefill" in listed.out and "Traceback" not in listed.out + run.err
    assert run.code == 2 and said in run.err
