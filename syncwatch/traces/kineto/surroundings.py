"""Tells what Python and torch were doing on a thread at a moment, without naming the machine or its users."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path

from syncwatch.model.events import LIBRARY_FILES, Frame
from syncwatch.model.paths import project_root
from syncwatch.traces.kineto.columns import Host
from syncwatch.traces.nesting import Nesting
from syncwatch.traces.process import Operator

_FUNCTION = re.compile(r"(?P<file>.+?)\((?P<line>\d{1,9})\): (?P<function>.+)", re.DOTALL)
"""As torch's tracer writes it; the line is that of the `def`."""
_PACKAGES = re.compile(r".*/(?:site|dist)-packages/")
_STDLIB = re.compile(r".*/lib/python\d[^/]*/")
_DRIVE = re.compile(r"[A-Za-z]:/")
_ELSEWHERE = re.compile(r"/|~|\.\./")
_KEPT = 3
"""Components of a path from elsewhere, at most; its first two are never kept: they name a home or a mount."""


@lru_cache(maxsize=1 << 16)
def frame_of(recorded: str) -> Frame | None:
    """Return the frame that a row of the category `python_function` names; None for a function that is not Python."""
    match = _FUNCTION.fullmatch(recorded)
    if match is None:
        return None
    return Frame(relative_file(match["file"]), int(match["line"]), match["function"], code="", expression=None)


def relative_file(recorded: str) -> str:
    """Return a file's name relative to site-packages, to the standard library or to the project's folder.

    torch has cut off what stood on `sys.path` already, so that a module of the standard library has a bare name.
    """
    if recorded.startswith("<"):
        return recorded
    path = recorded.replace("\\", "/")
    for pattern, prefix in ((_PACKAGES, ""), (_STDLIB, "<stdlib>/")):
        match = pattern.match(path)
        if match:
            return prefix + path[match.end() :]
    path = _DRIVE.sub("/", path, count=1) if _DRIVE.match(path) else path.removeprefix("./")
    if _ELSEWHERE.match(path):
        return _relative(path)
    return f"<stdlib>/{path}" if _is_stdlib(path) else path


def _relative(path: str) -> str:
    here = project_root(Path.cwd()).as_posix().rstrip("/") + "/"
    if path.startswith(here):
        return path[len(here) :]
    parts = [part for part in path.split("/") if part not in ("", ".", "..", "~")]
    # The first two, but never the file itself.
    return "/".join(parts[min(2, len(parts) - 1) :][-_KEPT:]) if parts else "<unknown>"


@lru_cache(maxsize=1 << 12)
def _is_stdlib(path: str) -> bool:
    """Return whether the bare name is one of Python's own modules, and no file of the current folder."""
    module = path.partition("/")[0].removesuffix(".py")
    if path.startswith(LIBRARY_FILES) or module not in sys.stdlib_module_names or "\x00" in path:
        return False
    folder = sysconfig.get_path("stdlib")
    return not os.path.isfile(path) and os.path.isfile(os.path.join(folder, path))


_MAX_DEPTH = 32
"""Frames kept of each stack, as of a live one."""


class KinetoSurroundings:
    """What Python and torch were doing on a thread, by the rows around a moment; see `process.Surroundings`."""

    def __init__(self, host: Host, base_ns: int) -> None:
        self._host = host
        self._base_ns = base_ns
        self._operators: dict[int, Nesting] = {}
        self._functions: dict[int, Nesting] = {}

    def frames_at(self, thread: int, moment_ns: int) -> tuple[Frame, ...]:
        """Return the Python stack, innermost first; functions that are not Python are passed over."""
        spans = self._host.functions.get(thread)
        if spans is None:
            return ()
        if thread not in self._functions:
            self._functions[thread] = Nesting(spans)
        texts, frames = self._host.names.texts, []
        for index in self._functions[thread].around(moment_ns - self._base_ns):
            frame = frame_of(texts[spans.names[index]])
            if frame is not None:
                frames.append(frame)
                if len(frames) == _MAX_DEPTH:
                    break
        return tuple(frames)

    def operator_at(self, thread: int, moment_ns: int) -> Operator | None:
        """Return the innermost operator of torch."""
        spans = self._host.operators.get(thread)
        if spans is None:
            return None
        if thread not in self._operators:
            self._operators[thread] = Nesting(spans)
        for index in self._operators[thread].around(moment_ns - self._base_ns, most=1):
            name = self._host.names.texts[spans.names[index]].replace("::", ".")
            return Operator(name, spans.starts[index] + self._base_ns)
        return None
