"""The device's native library: found, shipped, built once, or refused with a sentence."""

from __future__ import annotations

import _ctypes
import io
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from syncwatch.compat.tried import NEWEST_TORCH
from syncwatch.errors import NotMeasuredError
from syncwatch.sense import cplusplus
from syncwatch.sense.virtual.native import build, library
from tests.helpers.command import ROOT, syncwatch

_REBUILD = (
    "The sources of the native library changed: run `make prebuilt`, and commit syncwatch/sense/virtual/native/built"
)
_PINNED = next(
    line.partition("==")[2]
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line.startswith("torch==")
)
_MANYLINUX = (2, 28)
"""The C library that torch's own wheels ask for."""
_TRY = """
import torch
from syncwatch.sense.virtual.device import VirtualDevice
VirtualDevice().start()
print(torch.ones(3, device="cuda").sum().item())
"""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, with nothing shipped."""
    monkeypatch.setattr(build, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("SYNCWATCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.delenv("CXX", raising=False)
    return tmp_path / "cache" / "native"


@pytest.fixture
def outcome() -> Iterator[Any]:
    """What `load` finds, asked anew."""
    library._outcome.cache_clear()
    yield library._outcome
    library._outcome.cache_clear()


def compiler(folder: Path, body: str) -> Path:
    """Return a program that takes what a compiler takes; `$out` is what it is to write."""
    path = folder / "compiler"
    path.write_text(f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nout="$2"\n{body}\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def test_every_source_of_the_folder_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {path.name for path in build.sources()}
    for path in build.sources():
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(build, "HERE", tmp_path)
    before = build.digest()

    (tmp_path / "fresh.h").write_text("// a header that nobody listed\n", encoding="utf-8")
    with_another = build.digest()
    (tmp_path / "notes.txt").write_text("no source", encoding="utf-8")

    assert {"library.cpp", "operators.h"} <= own
    assert with_another != before
    assert build.digest() == with_another


def test_without_a_compiler_a_sentence_says_what_to_install(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(kept))

    with pytest.raises(NotMeasuredError, match=r"C\+\+ compiler .*apt install g\+\+.* CXX") as refused:
        build.build("device.so", cplusplus.folders())

    assert torch.__version__ in str(refused.value)
    assert "none is needed" not in str(refused.value)
    assert library.missing() is not None
    assert library.state() == str(refused.value)


def test_the_sentence_names_the_versions_that_need_none(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(kept))
    build.SHIPPED.mkdir()
    (build.SHIPPED / f"device-torch-2.99.0+cpu-{build.digest()}.so").touch()
    (build.SHIPPED / "device-torch-2.98.0+cpu-000000000000.so").touch()

    with pytest.raises(NotMeasuredError, match=r"With torch 2\.99\.0\+cpu none is needed\.") as refused:
        build.wanted().compiler()

    assert "2.98.0" not in str(refused.value)


def test_cxx_may_have_options_and_is_named_when_it_is_not_there(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "sh -e")
    chosen = build.wanted().compiler()
    monkeypatch.setenv("CXX", "no-such-compiler")

    assert chosen == [shutil.which("sh"), "-e"]
    with pytest.raises(NotMeasuredError, match="CXX names no-such-compiler, which is not there"):
        build.wanted().compiler()


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = compiler(tmp_path, 'printf half > "$out"; echo "a.h:3: error: no such thing" >&2; echo note >&2; exit 1')
    monkeypatch.setenv("CXX", str(fails))

    with pytest.raises(NotMeasuredError, match="report it with these lines") as refused:
        build.build("device.so", cplusplus.folders())

    assert str(refused.value).endswith("\na.h:3: error: no such thing")
    assert f"torch {torch.__version__}" in str(refused.value)
    assert not list(kept.iterdir())


def test_a_compiler_that_is_killed_leaves_nothing(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", str(compiler(tmp_path, 'printf half > "$out"; kill -9 $$')))

    with pytest.raises(NotMeasuredError, match="exit status -9"):
        build.build("device.so", cplusplus.folders())

    assert not list(kept.iterdir())


def test_nobody_finds_half_a_library(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tmp_path / "seen"
    looking = compiler(tmp_path, f'printf half > "$out"; ls {kept}/*.so > {seen} 2>/dev/null; printf whole > "$out"')
    monkeypatch.setenv("CXX", str(looking))

    made = build.build("device.so", cplusplus.folders())

    assert not seen.read_text(encoding="utf-8")
    assert made == kept / "device.so"
    assert made.read_text(encoding="utf-8") == "whole"
    assert [path.name for path in kept.iterdir()] == ["device.so"]


def test_of_several_at_once_one_builds(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("CXX", str(compiler(tmp_path, f'echo built >> {log}; printf whole > "$out"')))

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: build.build("device.so", cplusplus.folders()), range(4)))

    assert set(made) == {kept / "device.so"}
    assert log.read_text(encoding="utf-8").splitlines() == ["built"]


def test_where_the_cache_cannot_be_written_it_is_kept_in_tmp(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file stands where the cache folder would be, so that not even root can make it.
    (tmp_path / "cache").write_text("", encoding="utf-8")
    monkeypatch.setenv("CXX", str(compiler(tmp_path, 'printf whole > "$out"')))

    made = build.build(build.file_name(), cplusplus.folders())

    assert made.parent.parent == tmp_path / "tmp"
    assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700
    assert build.present() == [made]


def test_what_others_could_have_put_into_tmp_is_not_loaded(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("", encoding="utf-8")
    monkeypatch.setenv("CXX", str(compiler(tmp_path, 'printf whole > "$out"')))
    made = build.build(build.file_name(), cplusplus.folders())

    made.parent.chmod(0o777)

    assert not build.present()
    with pytest.raises(NotMeasuredError, match=r"others can write there.*Name a folder in SYNCWATCH_CACHE"):
        build.build(build.file_name(), cplusplus.folders())


def test_one_that_cannot_be_loaded_is_built_anew(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: Any
) -> None:
    monkeypatch.setenv("CXX", str(compiler(tmp_path, f'cp {_ctypes.__file__} "$out"')))
    kept.mkdir(parents=True)
    path = kept / build.file_name()
    path.write_text("of another machine", encoding="utf-8")

    loaded = outcome()

    assert loaded._name == str(path)
    assert path.read_bytes() == Path(_ctypes.__file__).read_bytes()


def test_a_failure_is_not_tried_again(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: Any
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("CXX", str(compiler(tmp_path, f"echo tried >> {log}; exit 1")))

    assert outcome() == outcome()
    assert log.read_text(encoding="utf-8").splitlines() == ["tried"]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class _SlowCompiler:
    """Runs for two ticks."""

    returncode = 0

    def __init__(self, *arguments: object, **named: object) -> None:
        self._left = 2

    def __enter__(self) -> _SlowCompiler:
        return self

    def __exit__(self, *error: object) -> None: ...

    def communicate(self, timeout: float) -> tuple[str, str]:
        if self._left:
            self._left -= 1
            raise subprocess.TimeoutExpired("compiler", timeout)
        return "", ""


@pytest.mark.parametrize(("stream", "ticks"), [(_Terminal(), 2), (io.StringIO(), 0)])
def test_a_terminal_sees_that_the_compiler_still_runs(
    stream: io.StringIO, ticks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", _SlowCompiler)
    monkeypatch.setattr(sys, "stderr", stream)

    cplusplus.run(["compiler"], "building ...")

    assert stream.getvalue().startswith("building ...")
    assert len(re.findall(r"\rbuilding \.\.\. \d+ s", stream.getvalue())) == ticks
    assert stream.getvalue().endswith("\n")


@pytest.mark.parametrize("stream", [None, io.StringIO()], ids=["missing", "closed"])
def test_progress_needs_no_stderr(stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if stream is not None:
        stream.close()
    monkeypatch.setattr(subprocess, "Popen", _SlowCompiler)
    monkeypatch.setattr(sys, "stderr", stream)

    assert cplusplus.run(["compiler"], "building ...") == (0, "")


def test_doctor_tells_the_three_states_and_builds_nothing(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("CXX", str(compiler(tmp_path, f"echo called >> {log}")))
    path = kept / build.file_name()

    before = library.state()
    kept.mkdir(parents=True)
    path.touch()
    built = library.state()
    build.SHIPPED.mkdir()
    (build.SHIPPED / build.file_name()).touch()
    came = library.state()

    assert "will be built" in before and str(path) in before and str(tmp_path / "compiler") in before
    assert "was built here" in built and str(path) in built
    assert "came with syncwatch" in came and str(build.SHIPPED) in came
    assert not log.exists()


@pytest.fixture(scope="module")
def unshipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package that has no library, and with nothing else that Python could build."""
    folder = tmp_path_factory.mktemp("unshipped")
    shutil.copytree(ROOT / "syncwatch", folder / "syncwatch", ignore=shutil.ignore_patterns("built", "__pycache__"))
    (folder / "nothing").mkdir()
    (folder / "prog.py").write_text(
        'import torch\nprint(torch.ones(3, device="cuda").sum().item())\n', encoding="utf-8"
    )
    (folder / "test_it.py").write_text(
        'import pytest, torch\n\n\n@pytest.mark.no_sync\ndef test_it():\n    torch.ones(3, device="cuda")\n',
        encoding="utf-8",
    )
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\n", encoding="utf-8")
    return folder


def bare(folder: Path) -> dict[str, str]:
    """Return an environment without a compiler and without a library."""
    path = os.pathsep.join([str(folder), str(ROOT / "kernels"), str(ROOT / "scenarios")])
    nothing = str(folder / "nothing")
    return {"PATH": nothing, "CXX": "", "SYNCWATCH_CACHE": nothing, "TMPDIR": nothing, "PYTHONPATH": path}


@pytest.mark.parametrize("arguments", [("run", "prog.py"), ("gate", "prog.py")], ids=["run", "gate"])
def test_without_a_compiler_and_a_library_it_is_exit_3_with_a_sentence(
    unshipped: Path, arguments: tuple[str, ...]
) -> None:
    ended = syncwatch(*arguments, "--device", "virtual", cwd=unshipped, env=bare(unshipped))

    assert ended.code == 3
    assert "apt install g++" in ended.err and "Traceback" not in ended.err
    assert not ended.out


def test_without_a_compiler_and_a_library_a_marked_test_fails_with_the_sentence(unshipped: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--syncwatch-device", "virtual", "test_it.py"],
        cwd=unshipped,
        env={**os.environ, **bare(unshipped)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1, done.stderr
    assert "apt install g++" in done.stdout and "Traceback" not in done.stdout


def test_without_a_compiler_and_a_library_doctor_says_so(unshipped: Path) -> None:
    ended = syncwatch("doctor", cwd=unshipped, env=bare(unshipped))

    assert ended.code == 0, ended.err
    assert "apt install g++" in ended.out
    assert not list((unshipped / "nothing").iterdir())


x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="libraries are shipped for x86-64")


@x86
def test_the_shipped_libraries_are_of_these_sources() -> None:
    stale = [path.name for path in build.SHIPPED.glob("*.so") if not path.name.endswith(f"-{build.digest()}.so")]

    assert not stale, _REBUILD


@x86
@pytest.mark.parametrize("version", [_PINNED, NEWEST_TORCH])
def test_a_library_is_shipped_for_the_torch_that_is_pinned_and_for_the_newest(version: str) -> None:
    assert any(name == version or name.startswith(f"{version}+") for name in build.shipped_for()), _REBUILD


@x86
def test_the_shipped_libraries_load_where_torch_does() -> None:
    for path in build.SHIPPED.glob("*.so"):
        held = path.read_bytes()
        wanted = {(int(major), int(minor)) for major, minor in re.findall(rb"GLIBC_(\d+)\.(\d+)", held)}
        assert max(wanted) <= _MANYLINUX, f"{path.name} asks for a newer C library than torch does"
        assert b"libpython" not in held


@x86
def test_with_the_shipped_library_no_compiler_is_needed(tmp_path: Path) -> None:
    if not str(torch.__version__).startswith((_PINNED, NEWEST_TORCH)):
        pytest.skip("no library is shipped for this torch")
    done = subprocess.run(
        [sys.executable, "-c", _TRY],
        cwd=ROOT,
        env={**os.environ, **bare(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, f"{_REBUILD}\n{done.stderr}"
    assert done.stdout.split() == ["3.0"]
    assert not list(tmp_path.iterdir())
