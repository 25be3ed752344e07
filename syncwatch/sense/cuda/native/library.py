"""Loads the C++ library that speaks to CUPTI: the one that came with the package, or one that is built here once.

It needs neither torch nor CUDA's headers, so one object serves every version of both on this kind of processor.
`python -m syncwatch.sense.cuda.native.library` builds the one that is shipped (`make prebuilt`).
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.cplusplus import Library, folders, is_safe

_HERE = Path(__file__).parent
_SHIPPED = _HERE / "built"
_FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-DNDEBUG", "-s")

CALL = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
"""Called at the end of a driver call: its callback id, its correlation id, its begin and end in epoch ns, its bytes.

The bytes are those of a linear copy, 0 for other calls, and `CAPTURED` where the call goes into a CUDA graph."""
CAPTURED = -1
OnCall = Callable[[int, int, int, int, int], None]

_SIZE, _INT, _NS = ctypes.c_size_t, ctypes.c_int, ctypes.c_int64
_POINTER, _TEXT = ctypes.c_void_p, ctypes.c_char_p
_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "open": (_INT, (_TEXT,)),
    "subscribe": (_INT, (CALL,)),
    "callback": (_INT, (ctypes.c_uint32, _INT)),
    "unsubscribe": (_INT, ()),
    "records": (_INT, (_POINTER, _SIZE)),
    "record": (_INT, (ctypes.c_uint32, _INT)),
    "flush": (_INT, (_INT,)),
    "flush_period": (_INT, (ctypes.c_uint32,)),
    "clock": (None, (_POINTER, _POINTER)),
    "finish": (None, (_POINTER,)),
    "place": (None, (_NS, _POINTER, _POINTER, _SIZE)),
    "front": (_SIZE, (_INT,)),
    "take": (_SIZE, (_INT, _POINTER, _SIZE)),
    "shared_count": (_SIZE, ()),
    "shared": (None, (_SIZE, _POINTER)),
    "name": (_SIZE, (_SIZE, _TEXT, _SIZE)),
    "forget": (None, ()),
    "raise_later": (None, (_POINTER, ctypes.c_uint64, _POINTER)),
    "native_stack": (_SIZE, (_POINTER, _INT)),
    "symbol": (_SIZE, (_POINTER, _TEXT, _SIZE)),
}
"""By name without `syncwatch_`: what each function of `records.cpp` returns and takes."""


@cache
def load() -> ctypes.CDLL:
    """Return the library, its functions typed.

    Raises:
        NotMeasuredError: if there is none for this machine, and no compiler to build it with.
    """
    outcome = _outcome()
    if isinstance(outcome, str):
        raise NotMeasuredError(outcome)
    for name, (returns, takes) in _SIGNATURES.items():
        function = getattr(outcome, f"syncwatch_{name}")
        function.restype, function.argtypes = returns, takes
    return outcome


@cache
def _outcome() -> ctypes.CDLL | str:
    """Return the library, or why there is none: a build that failed is not tried again in this process."""
    refused = ""
    kept = [folder / file_name() for folder in folders() if is_safe(folder)]
    for path in (_SHIPPED / file_name(), *kept):
        if path.exists():
            try:
                return ctypes.CDLL(str(path))
            except OSError as error:
                refused = f" ({path} cannot be loaded: {error})"
    try:
        return ctypes.CDLL(str(_WANTED.build(file_name(), folders())))
    except (NotMeasuredError, OSError) as error:
        return f"{error}{refused}"


def file_name() -> str:
    """Return the library's name on this kind of machine, for these sources."""
    found = hashlib.sha256(" ".join(_FLAGS).encode())
    for path in sorted(each for each in _HERE.iterdir() if each.suffix in {".cpp", ".h"}):
        found.update(path.read_bytes())
    return f"cupti-{platform.machine()}-{found.hexdigest()[:12]}.so"


def _command(chosen: Sequence[str], output: Path) -> list[str]:
    named = f"-ffile-prefix-map={_HERE}=syncwatch"
    return [*chosen, *_FLAGS, named, str(_HERE / "records.cpp"), "-o", str(output), "-ldl"]


_WANTED = Library("the library that speaks to CUPTI", _command, "two seconds")


def main() -> None:
    """Build the library that is shipped, and remove those of other sources."""
    _SHIPPED.mkdir(exist_ok=True)
    for path in _SHIPPED.glob(f"cupti-{platform.machine()}-*.so"):
        if path.name != file_name():
            path.unlink()
    print(_WANTED.build(file_name(), (_SHIPPED,)))


if __name__ == "__main__":
    main()
