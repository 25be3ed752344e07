"""Native extensions on the virtual device: their own CUDA code is not seen, so a run with one is not called clean."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from torch.utils.cpp_extension import include_paths, library_paths

from syncwatch.sense.environment import extensions
from tests.helpers.command import syncwatch

_SOURCE = """
#include <torch/extension.h>

double first(torch::Tensor values) { return values.cpu().data_ptr<float>()[0]; }

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) { module.def("first", &first); }
"""
_PROGRAM = """
import sys, torch
sys.path.insert(0, {folder!r})
import native_reader
values = torch.ones(8, device="cuda")
assert native_reader.first(values * 2) == 2.0
"""


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a small extension by hand, since ninja may be missing, and return its folder."""
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        pytest.skip("the headers of Python are not installed")
    folder = tmp_path_factory.mktemp("native")
    source = folder / "native_reader.cpp"
    source.write_text(_SOURCE)
    includes = [f"-I{path}" for path in (*include_paths(), sysconfig.get_paths()["include"])]
    libraries = [f"-L{path}" for path in library_paths()]
    old = "1" if torch.compiled_with_cxx11_abi() else "0"
    options = ["-O0", "-shared", "-fPIC", "-std=c++20", "-DTORCH_EXTENSION_NAME=native_reader"]
    abi = [f"-D_GLIBCXX_USE_CXX11_ABI={old}"]
    linked = ["-lc10", "-ltorch", "-ltorch_cpu", "-ltorch_python", "-o", str(folder / "native_reader.so")]
    command = [compiler, *options, *abi, *includes, str(source), *libraries, *linked]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_a_run_with_an_extension_is_not_clean(extension: Path, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(_PROGRAM.format(folder=str(extension)))
    ended = syncwatch("gate", "train.py", "--device", "virtual", cwd=tmp_path)
    assert ended.code == 3, ended.out + ended.err
    assert "native_reader.so" in ended.out

    (tmp_path / "syncwatch.toml").write_text('unwatched = "log"')
    logged = syncwatch("gate", "train.py", "--device", "virtual", cwd=tmp_path)
    assert "warning: The native code of native_reader.so" in logged.out
    # What it asks of torch is seen, with the line that called it.
    assert logged.code == 1, logged.out + logged.err
    assert "SW104" in logged.out and "train.py:6" in logged.out


def test_torchs_own_code_is_no_extension() -> None:
    script = "import torch, numpy; from syncwatch.sense.environment import extensions; print(extensions())"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "()"
    assert all(not name.startswith("libtorch") for name in extensions())


def test_the_devices_own_library_is_no_extension() -> None:
    script = (
        "from syncwatch.sense.virtual.device import VirtualDevice; from syncwatch.sense.environment import extensions; "
        "VirtualDevice().start(); print(extensions())"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "()"
