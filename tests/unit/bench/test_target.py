"""What a target on the command line names: a script, a function or a scenario, run as if started alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from syncwatch.bench import target
from syncwatch.bench.target import function
from syncwatch.errors import UsageError


def test_a_script_sees_itself_as_main_with_its_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "prog.py"
    (tmp_path / "beside.py").write_text("WORD = 'beside'")
    path.write_text("import sys, beside\nprint(__name__, sys.argv[1:], beside.WORD)")
    before = (list(sys.argv), list(sys.path))

    target.script(str(path)).run(["--epochs", "1"])

    assert capsys.readouterr().out == "__main__ ['--epochs', '1'] beside\n"
    assert (sys.argv, sys.path) == before


def test_a_function_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unknown_module.py").write_text("def go():\n    print('went')")
    monkeypatch.chdir(tmp_path)

    target.function("unknown_module:go").run([])

    assert capsys.readouterr().out == "went\n"


@pytest.mark.parametrize(
    ("make", "text", "said"),
    [
        (target.script, "nowhere.py", "does not exist"),
        (target.function, "pkg.mod:", "pkg.mod:function"),
        (target.function, "no_such_package_at_all:go", "no module 'no_such_package_at_all'"),
        (target.function, "json:no_such", "no function 'no_such'"),
        (target.module, "no_such_package_at_all", "no module"),
    ],
)
def test_what_cannot_be_run_is_refused_with_a_sentence(make: object, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make(text).run([])  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "code"), [("train.py", True), ("pkg.mod:go", True), ("gdn-prefill", False), ("gdn_prefil", False)]
)
def test_code_and_scenarios_are_told_apart(text: str, code: bool) -> None:
    assert target.is_code(text) is code


def test_only_a_python_file_is_code(tmp_path: Path) -> None:
    for name in ("run.json", "notes.txt", "train", "a:b"):
        (tmp_path / name).write_text("print('ran')\n")
        assert not target.is_code(str(tmp_path / name))


def test_a_method_of_an_object_is_a_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "held.py").write_text("class C:\n    def go(self): open('went', 'w').close()\nc = C()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    function("held:c.go").run([])

    assert (tmp_path / "went").exists()
