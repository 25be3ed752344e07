"""What a measurement belongs to: versions, the device, and native code that works on torch's tensors; nothing private.

On the virtual device the calls that native code makes of torch's operators are seen; what its own code for CUDA copies
or waits for is not.
"""

from __future__ import annotations

import os
import platform
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePath
from typing import IO

import torch

from syncwatch.compat.tried import installed
from syncwatch.model.session import DeviceKind, Environment
from syncwatch.sense.virtual.native.build import is_ours
from syncwatch.version import __version__


def environment(device: DeviceKind, gpu: str | None) -> Environment:
    """Return the environment of this process; `gpu` is the device's name."""
    return Environment(
        torch=str(torch.__version__),
        triton=installed("triton"),
        gpu=gpu,
        driver=_driver() if device is DeviceKind.CUDA else None,
        python=platform.python_version(),
        syncwatch=__version__,
    )


def _driver() -> str | None:
    try:
        with open("/proc/driver/nvidia/version", encoding="utf-8") as file:
            words = file.readline().split()
    except OSError:
        return None
    return next((word for word in words if word[:1].isdigit() and "." in word), None)


_MAPS = Path("/proc/self/maps")
_TORCH = ("libtorch", "libc10")
_KNOWN = frozenset({"torch", "torchvision", "torchaudio", "functorch", "triton", "torchgen"})
"""Packages whose operators go through torch's dispatcher one by one, where the device sees them."""
_MADE_BY_TORCH = ("torchinductor", "aotinductor", ".triton")
"""Folders of what torch.compile and Triton build: the operators in it are torch's."""
_CACHES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")

_DYNAMIC, _LOAD = 2, 1
_NEEDED, _STRINGS = 1, 5
_LONGEST = 4096


def extensions() -> tuple[str, ...]:
    """Return the file names of the shared objects in this process that are linked with torch and are not torch's."""
    return tuple(sorted({PurePath(path).name for path in _mapped() if not _is_known(path) and _uses_torch(path)}))


def _mapped() -> set[str]:
    try:
        lines = _MAPS.read_text(errors="replace").split("\n")
    except OSError:
        # Not Linux.
        return set()
    paths = (line.split(None, 5)[-1] for line in lines if "/" in line and ".so" in line)
    return {path for path in paths if path.startswith("/")}


def _is_known(path: str) -> bool:
    if is_ours(path):
        return True
    folders = PurePath(path).parts[:-1]
    if not _KNOWN.isdisjoint(folders[-4:]) and "site-packages" in folders:
        return folders[folders.index("site-packages") + 1] in _KNOWN
    caches = [folder for name in _CACHES if (folder := os.environ.get(name))]
    return any(folder.startswith(_MADE_BY_TORCH) for folder in folders) or path.startswith(tuple(caches) or ("\0",))


@cache
def _uses_torch(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return any(name.startswith(_TORCH) for name in _needed(file))
    except (OSError, struct.error, ValueError):
        return False


def _needed(file: IO[bytes]) -> Iterator[str]:
    """Yield the libraries that a 64-bit little-endian ELF file is linked with; nothing of any other file."""
    head = file.read(64)
    if head[:6] != b"\x7fELF\x02\x01":
        return
    (offset,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    file.seek(offset)
    table = file.read(size * count)
    segments = [struct.unpack_from("<IIQQQQ", table, index * size) for index in range(count)]
    loads = [(address, start, length) for kind, _, start, address, _, length in segments if kind == _LOAD]
    for kind, _, start, _, _, length in segments:
        if kind == _DYNAMIC:
            file.seek(start)
            yield from _names(file, list(struct.iter_unpack("<QQ", file.read(length // 16 * 16))), loads)


def _names(file: IO[bytes], entries: list[tuple[int, ...]], loads: list[tuple[int, int, int]]) -> Iterator[str]:
    strings = next((value for tag, value in entries if tag == _STRINGS), None)
    place = next((start + strings - at for at, start, size in loads if strings and at <= strings < at + size), None)
    if place is None:
        return
    for tag, value in entries:
        if tag == _NEEDED:
            file.seek(place + value)
            yield file.read(_LONGEST).split(b"\0", 1)[0].decode("utf-8", errors="replace")
