"""The file of a baseline: one sorted line for each site, safe against merges, interruptions and two writers."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from syncwatch.errors import UsageError
from syncwatch.judge.baseline_file import Changes, read_baseline, update_baseline
from syncwatch.model.verdict import KnownSite, SiteKey


def entry(
    source: str = "x.item()", *, target: str = "train.py", path: str = "app/a.py", sites: int = 1, calls: float = 1.0
) -> KnownSite:
    return KnownSite(target, "watched", SiteKey(path, "step", "SW101", source), sites, calls)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "baseline.jsonl"


def update(path: Path, *entries: KnownSite, target: str = "train.py") -> Changes:
    return update_baseline(path, target, ["watched"], entries)


def test_it_is_a_sorted_line_of_json_for_each_site(path: Path) -> None:
    update(path, entry("b"), entry("a", path="app/z.py"), entry("a"))
    header, *lines = path.read_text().splitlines()
    assert json.loads(header) == {"schema": "syncwatch.baseline/1"}
    assert [(json.loads(line)["path"], json.loads(line)["source"]) for line in lines] == [
        ("app/a.py", "a"),
        ("app/a.py", "b"),
        ("app/z.py", "a"),
    ]


def test_what_was_written_is_read_again_and_written_the_same(path: Path) -> None:
    hostile = entry('q"\\\n\x1b[31m]]>\u2028' + "x" * 10_000, path="a\x00b<c>::d")
    update(path, hostile, entry("y", calls=7 / 3))
    before = path.read_bytes()
    assert set(read_baseline(path)) == {hostile, entry("y", calls=7 / 3)}
    update(path, *read_baseline(path))
    assert path.read_bytes() == before


def test_an_update_says_what_it_changed_and_leaves_other_targets_alone(path: Path) -> None:
    update(path, entry("old"), entry("same"), entry("more"), entry("less", calls=2.0))
    update(path, entry("theirs", target="serve.py"), target="serve.py")
    changes = update(path, entry("same"), entry("more", sites=2), entry("less"), entry("new"))
    assert changes == Changes(
        added=(entry("new"),),
        raised=((entry("more"), entry("more", sites=2)),),
        lowered=((entry("less", calls=2.0), entry("less")),),
        removed=(entry("old"),),
    )
    assert {each.key.source for each in read_baseline(path)} == {"same", "more", "less", "new", "theirs"}


def test_both_sides_of_a_merge_can_be_kept(path: Path) -> None:
    update(path, entry("a"), entry("b"))
    text = path.read_text()
    path.write_text(text + text.splitlines()[1].replace('"a"', '"c"') + "\n")
    assert [each.key.source for each in read_baseline(path)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is empty"),
        (b"\xff\xfe", ":1 is no baseline entry"),
        (b"{}", ":1 is no baseline entry"),
        (b'{"schema":"syncwatch.baseline/2"}', "this version reads 'syncwatch.baseline/1'"),
        (b'{"schema":"syncwatch.baseline/1"}\n\n{"path":1}', ":3 is no baseline entry"),
        (b'{"schema":"syncwatch.baseline/1"}\n<<<<<<< HEAD\n', ":2 is a merge conflict"),
        (b'{"schema":"syncwatch.baseline/1"}\n' + b"[" * 100_000, ":2 is no baseline entry"),
    ],
)
def test_what_is_no_baseline_is_refused_with_its_line(path: Path, text: bytes, words: str) -> None:
    path.write_bytes(text)
    with pytest.raises(UsageError) as refusal:
        read_baseline(path)
    assert words in str(refusal.value) and "--update-baseline" in str(refusal.value)
    with pytest.raises(UsageError):
        update(path, entry())
    assert path.read_bytes() == text


@pytest.mark.parametrize(
    ("field", "value"), [("sites", 0), ("calls_per_step", -1), ("sites", 1.5), ("sites", 10**400), ("extra", 1)]
)
def test_a_figure_that_cannot_be_is_refused(path: Path, field: str, value: float) -> None:
    update(path, entry())
    header, line = path.read_text().splitlines()
    path.write_text(f"{header}\n{json.dumps({**json.loads(line), field: value})}\n")
    with pytest.raises(UsageError, match=":2 is no baseline entry"):
        read_baseline(path)


def test_a_file_that_is_not_there_is_refused_with_what_writes_it(path: Path) -> None:
    with pytest.raises(UsageError, match="--update-baseline"):
        read_baseline(path)


@pytest.mark.parametrize("moment", ["before the file is whole", "before it is in place"])
def test_an_interrupted_update_leaves_the_old_file_whole(
    path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    update(path, entry("old"))
    before = path.read_bytes()

    def half(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:10])
        raise KeyboardInterrupt

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if moment == "before the file is whole":
        monkeypatch.setattr(Path, "write_bytes", half)
    else:
        monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        update(path, entry("new"))
    monkeypatch.undo()

    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def _update_often(path: Path, target: str) -> None:
    for number in range(10):
        update(path, entry(f"{target} {number}", target=target), target=target)


def test_two_updates_at_once_lose_nothing(path: Path) -> None:
    targets = [f"target{number}.py" for number in range(4)]
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_update_often, args=(path, target)) for target in targets]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert {each.key.source for each in read_baseline(path)} == {f"{target} 9" for target in targets}
    assert os.listdir(path.parent) == [path.name]
