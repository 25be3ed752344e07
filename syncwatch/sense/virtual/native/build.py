"""Builds the native library with this machine's C++ compiler, once, against torch's headers, and says where it lies.

`python -m syncwatch.sense.virtual.native.build` builds the one that is shipped for the torch it runs with
(`make prebuilt`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from syncwatch.errors import NotMeasuredError

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


_COMPILERS = ("g++", "clang++", "c++")
_TICK_S = 1.0
"""How often a terminal is told that the compiler still runs."""
_QUICK = ("-O1",)
_SHIPPED = ("-O2", "-s", "-include", "older_glibc.h")


def compiler() -> list[str]:
    """Return the C++ compiler, with the options that CXX gives it.

    Raises:
        NotMeasuredError: if there is none.
    """
    asked = shlex.split(os.environ.get("CXX", ""))
    found = [asked[0]] if asked else _COMPILERS
    for name in found:
        path = shutil.which(name)
        if path is not None:
            return [path, *asked[1:]]
    named = f"CXX names {asked[0]}, which is not there. " if asked else ""
    raise NotMeasuredError(
        f"The virtual device needs a C++ compiler once, to build its library for torch {torch.__version__}. {named}"
        f"Install g++ (apt install g++), or name a compiler in CXX.{_needing_none()}"
    )


def build(name: str, folders: Sequence[Path]) -> Path:
    """Build the library called `name` into the first of `folders` that can be written, and return its path.

    Raises:
        NotMeasuredError: if there is no compiler, it fails, or no folder can be written.
    """
    chosen, refused = compiler(), []
    for folder in folders:
        reason = _refusal(folder)
        if reason is None:
            return _build_into(chosen, folder / name)
        refused.append(f"{folder}: {reason}")
    raise NotMeasuredError(
        f"The virtual device's library can be kept nowhere ({'; '.join(refused)}). Name a folder in {CACHE}."
    )


def _refusal(folder: Path) -> str | None:
    """Make `folder`; return why nothing can be kept there, or None."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None if is_safe(folder) else "others can write there"
    except OSError as error:
        return error.strerror or str(error)


def _build_into(chosen: Sequence[str], path: Path, options: Sequence[str] = _QUICK) -> Path:
    with _alone(path.parent):
        if path.exists():
            # Another process has built it meanwhile.
            return path
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / path.name
            _compile(command(chosen, made, options), path)
            # Whoever looks for it finds all of it or nothing.
            os.replace(made, path)
    return path


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time build in `folder`; the compiler takes a core and a gigabyte."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Some network folders know no locks; then two build at once, and either file is as good.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


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


def _compile(arguments: Sequence[str], path: Path) -> None:
    said = f"syncwatch: building the virtual device for torch {torch.__version__}, once, in about half a minute ..."
    try:
        status, errors = _run(arguments, said)
    except OSError as error:
        raise NotMeasuredError(f"The C++ compiler {arguments[0]} cannot be started ({error}).") from error
    if status:
        raise NotMeasuredError(
            f"{arguments[0]} could not build the virtual device's library for torch {torch.__version__} "
            f"(exit status {status}). If this machine has memory and disk left, that is a bug of syncwatch's: please "
            f"report it with these lines and with torch's version.{_needing_none()}\n{_last_lines(errors)}"
        )


def _run(arguments: Sequence[str], said: str) -> tuple[int, str]:
    """Run the compiler; say so once, and to a terminal every second."""
    begun, live = time.monotonic(), _is_live()
    _say(said, end="" if live else "\n")
    with subprocess.Popen(
        arguments,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    _, errors = process.communicate(timeout=_TICK_S)
                    break
                if live:
                    _say(f"\r{said} {time.monotonic() - begun:.0f} s", end="")
        except BaseException:
            process.kill()
            raise
        finally:
            if live:
                _say("", end="\n")
    return process.returncode, errors


def _is_live() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False


def _say(text: str, end: str) -> None:
    # The code that is watched may have closed it.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(text, end=end, file=sys.stderr, flush=True)


def _last_lines(errors: str) -> str:
    lines = errors.strip().splitlines()
    return "\n".join([line for line in lines if "error" in line][:4] or lines[-8:])


def _needing_none() -> str:
    """Return a sentence on which versions of torch need no compiler, empty where all do."""
    shipped = shipped_for()
    return f" With torch {' or '.join(shipped)} none is needed." if shipped else ""


def main() -> None:
    """Build the library that is shipped for this torch, and remove those of other sources."""
    SHIPPED.mkdir(exist_ok=True)
    for path in SHIPPED.glob("*.so"):
        if not path.name.endswith(f"-{digest()}.so"):
            path.unlink()
    print(_build_into(compiler(), SHIPPED / file_name(), _SHIPPED))


if __name__ == "__main__":
    main()
