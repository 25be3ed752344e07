"""Builds the native library with this machine's C++ compiler, once, against torch's headers, and says where it lies.

`python -m syncwatch.sense.virtual.native.build` builds the one that is shipped for the torch it runs with
(`make prebuilt`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from syncwatch.sense.cplusplus import Library, folders, is_safe

HERE = Path(__file__).parent
SHIPPED = HERE / "built"
"""Libraries that come with the package; `make prebuilt` makes them."""
_BEGIN = "device-torch-"


def file_name() -> str:
    """Return the library's name for the installed torch and these sources."""
    return f"{_BEGIN}{torch.__version__}-{digest()}.so"


def is_ours(path: str) -> bool:
    """Return whether the shared object at `path` is a native library of ours, for whichever torch."""
    folder, name = os.path.split(path)
    return name.startswith(_BEGIN) and Path(folder) in {SHIPPED, *folders()}


# NDEBUG as in torch itself: some of its classes are larger without.
FLAGS = ("-std=c++20", "-fPIC", "-shared", "-w", "-pipe", "-D_GLIBCXX_USE_CXX11_ABI=1", "-DNDEBUG")
"""What the compiler is told for every torch."""


def digest() -> str:
    """Return what of the name stands for the sources and the compiler's options."""
    found = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sources():
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def sources() -> list[Path]:
    """Return every file that the library is built from."""
    return sorted(path for path in HERE.iterdir() if path.suffix in {".cpp", ".h"})


def shipped() -> Path | None:
    """Return the library that came with the package for this torch, or None."""
    path = SHIPPED / file_name()
    return path if path.exists() else None


def present() -> list[Path]:
    """Return every library for this torch and these sources that is there, the best first."""
    own = shipped()
    kept = [folder / file_name() for folder in folders() if is_safe(folder)]
    return [*([] if own is None else [own]), *(path for path in kept if path.exists())]


def shipped_for() -> tuple[str, ...]:
    """Return the versions of torch whose library came with the package."""
    end = f"-{digest()}.so"
    return tuple(sorted(path.name[len(_BEGIN) : -len(end)] for path in SHIPPED.glob(f"{_BEGIN}*{end}")))


_QUICK = ("-O1",)
_SHIPPED = ("-O2", "-s", "-include", "older_glibc.h")


def command(chosen: Sequence[str], output: Path, options: Sequence[str] = _QUICK) -> list[str]:
    """Return what builds the library into `output`."""
    torch_folder = Path(torch.__file__).parent
    return [
        *chosen,
        *FLAGS,
        # Messages name the sources, and must not tell where they lay.
        *(f"-ffile-prefix-map={folder}={name}" for folder, name in ((torch_folder, "torch"), (HERE, "syncwatch"))),
        f"-I{torch_folder / 'include'}",
        f"-I{HERE}",
        *options,
        str(HERE / "library.cpp"),
        "-o",
        str(output),
        f"-L{torch_folder / 'lib'}",
        *("-ltorch_cpu", "-lc10"),
    ]


def wanted(options: Sequence[str] = _QUICK) -> Library:
    """Return what is to be built for the torch that is installed."""
    shipped = shipped_for()
    return Library(
        name=f"the virtual device's library for torch {torch.__version__}",
        command=lambda chosen, output: command(chosen, output, options),
        lasts="half a minute",
        without=f" With torch {' or '.join(shipped)} none is needed." if shipped else "",
    )


def build(name: str, folders: Sequence[Path]) -> Path:
    """Build the library called `name` into the first of `folders` that can be written, and return its path.

    Raises:
        NotMeasuredError: if there is no compiler, it fails, or no folder can be written.
    """
    return wanted().build(name, folders)


def main() -> None:
    """Build the library that is shipped for this torch, and remove those of other sources."""
    SHIPPED.mkdir(exist_ok=True)
    for path in SHIPPED.glob("*.so"):
        if not path.name.endswith(f"-{digest()}.so"):
            path.unlink()
    print(wanted(_SHIPPED).build(file_name(), (SHIPPED,)))


if __name__ == "__main__":
    main()
