"""Answers: where was this thread? Captures raw stacks cheaply and turns them into frames once, at the end."""

from __future__ import annotations

import linecache
import os
import site
import sys
import sysconfig
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from types import CodeType, FrameType

from syncwatch.model.events import Frame

MAX_DEPTH = 32
"""Frames kept of each stack; a deeper stack is cut at its outer end."""

_MAX_EXPRESSION = 200


@dataclass(slots=True)
class StackTable:
    """Interns stacks by code object and instruction, so that a repeated one costs a dictionary look-up."""

    _ids: dict[tuple[int, ...], int] = field(default_factory=dict)
    _stacks: list[tuple[tuple[CodeType, int, int], ...]] = field(default_factory=list)

    def intern(self, frame: FrameType | None) -> int:
        """Return the id of the stack that `frame` is the innermost frame of."""
        raw: list[tuple[CodeType, int, int]] = []
        key: list[int] = []
        while frame is not None and len(raw) < MAX_DEPTH:
            code = frame.f_code
            raw.append((code, frame.f_lineno or code.co_firstlineno, frame.f_lasti))
            key += (id(code), frame.f_lasti)
            frame = frame.f_back
        identity = tuple(key)
        known = self._ids.get(identity)
        if known is None:
            known = self._ids[identity] = len(self._stacks)
            # The table holds the code objects, so an id in a key is never reused while the table lives.
            self._stacks.append(tuple(raw))
        return known

    def freeze(self) -> tuple[tuple[Frame, ...], tuple[tuple[int, ...], ...]]:
        """Return every distinct frame, and each stack as indices into them, innermost first."""
        indices: dict[Frame, int] = {}
        stacks = tuple(
            tuple(indices.setdefault(_frame(code, line, lasti), len(indices)) for code, line, lasti in raw)
            for raw in self._stacks
        )
        return tuple(indices), stacks


def _frame(code: CodeType, line: int, lasti: int) -> Frame:
    return Frame(
        file=display_path(code.co_filename),
        line=line,
        function=getattr(code, "co_qualname", code.co_name),
        code=linecache.getline(code.co_filename, line).strip(),
        expression=_expression(code, lasti),
    )


def _expression(code: CodeType, lasti: int) -> str | None:
    """Return the source text of the running instruction, from the columns that Python 3.11 and later record."""
    if not hasattr(code, "co_positions") or lasti < 0:
        return None
    start_line, end_line, start, end = next(islice(code.co_positions(), lasti // 2, None), (None,) * 4)
    if start_line is None or end_line is None or start is None or end is None:
        return None
    lines = [linecache.getline(code.co_filename, number) for number in range(start_line, end_line + 1)]
    if not all(lines):
        return None
    # Columns count UTF-8 bytes.
    lines[-1] = lines[-1].encode()[:end].decode(errors="ignore")
    lines[0] = lines[0].encode()[start:].decode(errors="ignore")
    text = " ".join(part.strip() for part in lines)
    return text if len(text) <= _MAX_EXPRESSION else None


@lru_cache(maxsize=4096)
def display_path(filename: str) -> str:
    """Return `filename` without anything of this machine in it: relative to site-packages, the stdlib, or the checkout.

    Home folders carry user names, and a path must be the same on the machine that gates and the one that measured.
    """
    if filename.startswith("<"):
        return filename
    path = os.path.realpath(filename)
    for root, prefix in _roots():
        if path.startswith(root + os.sep):
            return (prefix + path[len(root) + 1 :]).replace(os.sep, "/")
    return os.path.basename(path)


def _roots() -> list[tuple[str, str]]:
    """Return (folder, what stands for it), the first match winning."""
    packages = [*site.getsitepackages(), site.getusersitepackages()]
    packages += [entry for entry in sys.path if entry.rstrip(os.sep).endswith(("site-packages", "dist-packages"))]
    stdlib = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    here = os.getcwd()
    roots = [(root, "") for root in packages] + [(root, "<stdlib>/") for root in stdlib] + [(here, "")]
    roots += [(entry, "") for entry in sys.path if entry]
    return [(os.path.realpath(root), prefix) for root, prefix in roots]
