"""Builds the native library for the torch that is installed, once, and loads it.

The library is C++ against torch's own headers, so each version and build of torch has its own. It is kept in the
user's cache folder, under a name that changes with torch and with the sources.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import torch

from syncwatch.errors import NotMeasuredError

_HERE = Path(__file__).parent
_SOURCES = ("library.cpp", *(f"{name}.h" for name in (
    "attention", "bridge", "capture", "clock", "copies", "guard", "hooks", "journal", "memory", "operators", "sides",
)))  # fmt: skip
_CACHE = "SYNCWATCH_CACHE"
"""The environment variable that names another folder to keep libraries in."""


@cache
def load() -> ctypes.CDLL:
    """Return the library, built if it was not there.

    Raises:
        NotMeasuredError: if it cannot be built here.
    """
    path = _prebuilt() or cached()
    if not path.exists():
        _build(path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise NotMeasuredError(
            f"The virtual device's library {path} cannot be loaded ({error}). Remove it, and it is built anew."
        ) from error


def cached() -> Path:
    """Return where the library for this torch is kept, whether it is there or not."""
    folder = os.environ.get(_CACHE) or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "syncwatch"
    )
    return Path(folder) / "native" / _file_name()


def _prebuilt() -> Path | None:
    """Return the library that came with the package for this torch, or None."""
    path = _HERE / "built" / _file_name()
    return path if path.exists() else None


def _file_name() -> str:
    digest = hashlib.sha256()
    for name in _SOURCES:
        digest.update((_HERE / name).read_bytes())
    return f"device-torch-{torch.__version__}-{digest.hexdigest()[:12]}.so"


def _build(path: Path) -> None:
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
    if compiler is None:
        raise NotMeasuredError(
            f"The virtual device needs a C++ compiler once, to build its library for torch {torch.__version__}. "
            "Install g++ (apt install g++), or name a compiler in CXX."
        )
    print(
        f"syncwatch: building the virtual device for torch {torch.__version__}, once, in about 30 s ...",
        file=sys.stderr,
        flush=True,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        done = subprocess.run(command(compiler, made), capture_output=True, text=True, check=False)
        if done.returncode:
            tail = "\n".join(done.stderr.strip().splitlines()[-8:])
            raise NotMeasuredError(
                f"The virtual device's library for torch {torch.__version__} could not be built:\n{tail}"
            )
        # Two processes may build at once; either file is as good.
        os.replace(made, path)


def command(compiler: str, output: Path) -> list[str]:
    """Return what builds the library into `output`."""
    torch_folder = Path(torch.__file__).parent
    return [
        compiler,
        *("-std=c++20", "-O2", "-fPIC", "-shared", "-w", "-D_GLIBCXX_USE_CXX11_ABI=1"),
        f"-I{torch_folder / 'include'}",
        str(_HERE / "library.cpp"),
        "-o",
        str(output),
        f"-L{torch_folder / 'lib'}",
        *("-ltorch_cpu", "-lc10"),
    ]
