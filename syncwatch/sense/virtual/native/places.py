"""The native library's name on this machine, the folder where it lies, and the sources that it is made of."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import torch

HERE = Path(__file__).parent
SHIPPED = HERE / "built"
"""Libraries that come with the package; `make prebuilt` makes them."""
CACHE = "SYNCWATCH_CACHE"
"""The environment variable that names another folder to keep libraries in."""
_BEGIN = "device-torch-"


def folders() -> tuple[Path, ...]:
    """Return where libraries are kept, the best first: the user's cache, and where that cannot be written, /tmp."""
    kept = os.environ.get(CACHE) or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "syncwatch"
    )
    # Not by `tempfile.gettempdir`, which keeps its answer: the target may name another folder yet.
    temporary = Path(os.environ.get("TMPDIR") or "/tmp") / f"syncwatch-native-{os.getuid()}"
    return Path(kept) / "native", temporary


def is_safe(folder: Path) -> bool:
    """Return whether nobody else can have put a library into `folder`; where it is not there nobody has."""
    if folder == folders()[0]:
        return True
    try:
        seen = os.lstat(folder)
    except OSError:
        return True
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.getuid() and not seen.st_mode & 0o022


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
