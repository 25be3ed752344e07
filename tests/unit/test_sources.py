"""The source files that a report names are found in the project's folders, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncwatch.app.project.sources import reader, user_files
from tests.helpers.fakes import Stacks, frame, recording, session, torch_frame


def test_a_file_is_found_in_the_first_folder_that_has_it(tmp_path: Path) -> None:
    for name, text in (("first", "a"), ("second", "b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{text}.py").write_text(text)
        (tmp_path / name / "both.py").write_text(name)
    read = reader([tmp_path / "first", tmp_path / "second"])
    assert [read(name) for name in ("a.py", "b.py", "both.py", "c.py")] == ["a", "b", "first", None]


@pytest.mark.parametrize("name", ["../outside.py", "sub/../../outside.py", "<stdin>", "a\0b", "x" * 10_000, "", "."])
def test_a_name_that_leads_elsewhere_or_nowhere_is_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside.py").write_text("secret")
    (tmp_path / "inside").mkdir()
    assert reader([tmp_path / "inside"])(name) is None


def test_an_absolute_path_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "outside.py"
    path.write_text("secret")
    assert reader([tmp_path])(str(path)) is None


def test_the_encoding_is_the_one_that_python_reads(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes(b"# coding: latin-1\n# \xe4\n")
    (tmp_path / "broken.py").write_bytes(b"# \xe4\n")
    read = reader([tmp_path])
    assert read("latin.py") == "# coding: latin-1\n# \u00e4\n"
    assert read("broken.py") is None


@pytest.mark.parametrize(
    ("target", "file"), [("train.py", "train.py"), ("pkg.mod", "pkg/mod.py"), ("pkg.mod:main", "pkg/mod.py")]
)
def test_the_target_and_the_lines_of_the_user_took_part(tmp_path: Path, target: str, file: str) -> None:
    stacks = Stacks()
    stacks.add(torch_frame("_tensor.py"), frame(file="app/a.py"), frame(file="app/b.py"))
    known = session(recording(stacks=stacks), target=target)
    assert user_files(known, tmp_path) == (file, "app/a.py", "app/b.py")
