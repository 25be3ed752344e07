"""The library that speaks to CUPTI: shipped for these sources, built where it is not, or refused with a sentence."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.cuda.cupti import Cupti
from syncwatch.sense.cuda.native import library
from tests.helpers.command import ROOT
from tests.helpers.fake_cupti import FakeCupti

_REBUILD = "The sources changed: run `make prebuilt`, and commit syncwatch/sense/cuda/native/built"
_MANYLINUX = (2, 28)
"""The C library that torch's own wheels ask for."""
x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="a library is shipped for x86-64")


@pytest.fixture
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the cache, empty; nothing is shipped and nothing known."""
    monkeypatch.setattr(library, "_SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("SYNCWATCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.delenv("CXX", raising=False)
    library.load.cache_clear()
    library._outcome.cache_clear()
    yield tmp_path / "cache" / "native"
    library.load.cache_clear()
    library._outcome.cache_clear()


@x86
def test_the_shipped_library_is_of_these_sources_and_loads_where_torch_does() -> None:
    (path,) = library._SHIPPED.glob("*-x86_64-*.so")
    held = path.read_bytes()
    wanted = {(int(major), int(minor)) for major, minor in re.findall(rb"GLIBC_(\d+)\.(\d+)", held)}

    assert path.name == library.file_name(), _REBUILD
    assert max(wanted) <= _MANYLINUX
    assert b"libpython" not in held and b"libtorch" not in held


def test_every_source_of_the_folder_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "records.cpp").write_text("one")
    monkeypatch.setattr(library, "_HERE", tmp_path)
    before = library.file_name()
    (tmp_path / "notes.txt").write_text("no source")
    same = library.file_name()
    (tmp_path / "fresh.h").write_text("another")

    assert same == before
    assert library.file_name() != before


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_where_none_is_shipped_one_is_built_and_kept(anew: Path, capfd: pytest.CaptureFixture[str]) -> None:
    loaded = library.load()
    library.load.cache_clear()
    library._outcome.cache_clear()
    again = library.load()

    assert Path(loaded._name) == Path(again._name) == anew / library.file_name()
    assert capfd.readouterr().err.count("building the library that speaks to CUPTI") == 1


def test_without_a_compiler_a_sentence_says_what_to_install(anew: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(anew))

    for _ in range(2):
        with pytest.raises(NotMeasuredError, match=r"to build the library that speaks to CUPTI.*apt install g\+\+"):
            library.load()


def test_one_that_cannot_be_loaded_is_named(anew: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anew.mkdir(parents=True)
    (anew / library.file_name()).write_text("of another machine")
    monkeypatch.setenv("PATH", "")

    with pytest.raises(NotMeasuredError, match=rf"{anew}.* cannot be loaded"):
        library.load()


_TRY = """
import sys, torch
from syncwatch.errors import NotMeasuredError
from syncwatch.sense.cuda.cupti import Cupti
torch.version.cuda = "0.0"
import ctypes
held = ctypes.CDLL(sys.argv[1]) if len(sys.argv) > 1 else None
for _ in range(2):
    try:
        Cupti(print, records=True)
    except NotMeasuredError as error:
        print(error)
"""


def tried(*arguments: str) -> list[str]:
    """Return what each of two tries to subscribe says, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _TRY, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_cupti_that_is_not_there_is_named() -> None:
    assert tried() == ["libcupti.so.0 cannot be loaded. Install the CUPTI of CUDA 0.0."] * 2


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_a_cupti_that_lacks_a_function_is_refused_each_time(tmp_path: Path) -> None:
    path, source = tmp_path / "libcupti.so.0", tmp_path / "lacking.cpp"
    source.write_text('extern "C" int cuptiSubscribe(void**, void*, void*) { return 0; }')
    compiler, *options = library._WANTED.compiler()
    command = [compiler, *options, "-shared", "-fPIC", "-Wl,-soname,libcupti.so.0", str(source), "-o", str(path)]
    subprocess.run(command, check=True)

    said = "libcupti.so.0 lacks a function that syncwatch needs. Install the CUPTI of CUDA 0.0."
    assert tried(str(path)) == [said] * 2


def test_a_name_is_as_c_plus_plus_has_it_and_cut_where_it_is_too_long(cupti: FakeCupti) -> None:
    watch = Cupti(lambda *_: None, records=True)
    for number, name in enumerate(("_ZN2at6native6gatherEv", "plain", "x" * 20_000)):
        cupti.kernel(number, name=name)
    watch.close()

    assert {each.name for each in watch.records((), 0).shared} == {"at::native::gather()", "plain", "x" * 8191}
