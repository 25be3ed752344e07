"""Captures where a thread is in Python, cheaply, and turns it into frames once, at the end; names threads, too."""

from __future__ import annotations

import dis
import itertools
import linecache
import os
import re
import site
import sys
import sysconfig
import threading
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from syncwatch.compat.torch_cuda import BACKWARD
from syncwatch.model.events import LIBRARIES, LIBRARY_FILES, Frame
from syncwatch.model.paths import current_root

AUTOGRAD = "autograd backward"
_PREFIXES = {"pt_autograd": AUTOGRAD, "pt_data_pin": "DataLoader pinning", "pt_data_worker": "DataLoader"}
"""How torch names its threads to the system, and what they are."""


def thread_name() -> str:
    """Return the name of the calling thread."""
    name = threading.current_thread().name
    if "_pin_memory_loop" in name:
        return "DataLoader pinning"
    if not name.startswith("Dummy-"):
        return name
    return native_name(threading.get_native_id()) or name


def native_name(tid: int) -> str:
    """Return what the thread that the system calls `tid` does, by its name there; empty where it has none."""
    try:
        native = Path(f"/proc/self/task/{tid}/comm").read_text().strip()
    except OSError:
        return ""
    for prefix, meaning in _PREFIXES.items():
        if native.startswith(prefix):
            return f"{meaning} ({native})"
    return native


_STARTED_IN = current_root()
"""For a watch that begins after the program has left its folder."""

MAX_DEPTH = 32
"""Frames kept of each stack; a deeper stack is cut at its outer end."""

_MAX_EXPRESSION = 200
_PACKAGES = ("site-packages", "dist-packages")


_RESUMED = re.compile(r"torch_dynamo_resume_in_(.+)_at_\d+")
"""What torch.compile calls the rest of a function behind a graph break; the line number in it moves with the code."""

_CALLERS = 4
"""Callers of the user's line that tell stacks apart."""


@dataclass(slots=True)
class StackTable:
    """Interns stacks by code object and instruction, so that a repeated one costs a dictionary look-up.

    Stacks are told apart down to the fourth caller of the innermost line outside torch; what lies further out is that
    of the first one. A walk of all 32 frames at every wait took 5 to 9 us, five times as long as this one.
    """

    root: Path | None = field(default_factory=current_root)
    """The folder that paths start from: the watched code may leave its own before they are needed."""
    _ids: dict[tuple[int, ...], int] = field(default_factory=dict)
    _stacks: dict[int, tuple[tuple[CodeType, int, int], ...]] = field(default_factory=dict)
    _fresh: Iterator[int] = field(default_factory=itertools.count)
    _is_library: dict[int, tuple[bool, CodeType]] = field(default_factory=dict)
    """By the id of a code object, since its hash is of all its bytes; held, so that no id is given again."""

    def intern(self, frame: FrameType | None) -> int:
        """Return the id of the stack that `frame` is the innermost frame of."""
        place = self._place_of(frame)
        number = self._ids.get(place)
        if number is not None:
            return number
        # No lock: Python may collect garbage here, and to free memory of the GPU is a driver call with a stack too.
        fresh = next(self._fresh)
        self._stacks[fresh] = _walked(frame)
        return self._ids.setdefault(place, fresh)

    def _place_of(self, frame: FrameType | None) -> tuple[int, ...]:
        """Return what tells the stack of `frame` from others, two numbers for each frame."""
        left, library = MAX_DEPTH, self._is_library
        if frame is not None and library.get(id(frame.f_code), _LIBRARY)[0] is False:
            with_callers = _with_callers(frame)
            if with_callers:
                return with_callers
        key: list[int] = []
        while frame is not None and left:
            code = frame.f_code
            identity = id(code)
            key.append(identity)
            key.append(frame.f_lasti)
            known = library.get(identity)
            if known is None:
                known = library[identity] = (is_library(code, self.root), code)
            left = left - 1 if known[0] or left <= _CALLERS else _CALLERS
            frame = frame.f_back
        return tuple(key)

    def innermost(self, number: int) -> tuple[CodeType, int]:
        """Return the code of the innermost frame of a stack, and its instruction there."""
        code, _, lasti = self._stacks[number][0]
        return code, lasti

    def freeze(self) -> tuple[tuple[Frame, ...], tuple[tuple[int, ...], ...]]:
        """Return every distinct frame, and each stack as indices into them, innermost first."""
        indices: dict[Frame, int] = {}
        known = dict(self._stacks)
        stacks = tuple(
            tuple(
                indices.setdefault(_frame(code, line, lasti, self.root), len(indices))
                for code, line, lasti in known.get(number, ())
            )
            for number in range(max(known, default=-1) + 1)
        )
        return tuple(indices), stacks


_LIBRARY = (True, None)


def _with_callers(frame: Any) -> tuple[int, ...]:
    """Return the place of `frame` and its `_CALLERS` callers, in half the time of the walk; nothing if it has fewer."""
    try:
        one = frame.f_back
        two = one.f_back
        three = two.f_back
        four = three.f_back
        return (
            id(frame.f_code),
            frame.f_lasti,
            id(one.f_code),
            one.f_lasti,
            id(two.f_code),
            two.f_lasti,
            id(three.f_code),
            three.f_lasti,
            id(four.f_code),
            four.f_lasti,
        )
    except AttributeError:
        return ()


def is_library(code: CodeType, root: Path | None) -> bool:
    """Return whether `code` belongs to torch, to another library that is looked through, or to syncwatch."""
    return display_path(code.co_filename, root).startswith(LIBRARY_FILES)


def _walked(frame: FrameType | None) -> tuple[tuple[CodeType, int, int], ...]:
    found: list[tuple[CodeType, int, int]] = []
    while frame is not None and len(found) < MAX_DEPTH:
        found.append((frame.f_code, frame.f_lineno or frame.f_code.co_firstlineno, frame.f_lasti))
        frame = frame.f_back
    return tuple(found)


def _frame(code: CodeType, line: int, lasti: int, root: Path | None) -> Frame:
    running, branches = _running(code, lasti)
    span = getattr(running, "positions", None)  # from Python 3.11 on
    if span is not None and span.lineno is not None:
        line = span.lineno
    return Frame(
        file=display_path(code.co_filename, root),
        line=line,
        function=_RESUMED.sub(r"\1", getattr(code, "co_qualname", code.co_name)),
        code=linecache.getline(code.co_filename, line).strip(),
        expression=None if span is None else _text(code.co_filename, span),
        branches=branches,
    )


def _running(code: CodeType, lasti: int) -> tuple[dis.Instruction | None, bool]:
    """Return the instruction that tells the line, and whether it was asked for its truth.

    Python 3.11 gives a conditional jump the position of the whole statement, 3.12 that of the tested part. What
    computed the tested value stands just before the jump in every version, so its position is taken; but not in code
    that torch.compile made, where the jump follows the clean-up after a compiled graph, which has an earlier line.
    """
    instructions = _instructions(code)
    # A call that entered Python leaves the position on the cache entries behind it.
    at = bisect_right(instructions, lasti, key=lambda each: each.offset) - 1
    if at < 0:
        return None, False
    branches = at > 0 and instructions[at].opname.startswith(_TRUTH_TESTS)
    computed = branches and not instructions[at - 1].opname.startswith(_CLEAN_UP)
    return instructions[at - 1 if computed else at], branches


_CLEAN_UP = ("DELETE_", "STORE_", "POP_TOP", "SWAP", "COPY", "NOP")
"""Instructions that leave a value where it was; none of them computes what a jump tests."""
_TRUTH_TESTS = ("POP_JUMP", "JUMP_IF", "TO_BOOL", "UNARY_NOT")


def _instructions(code: CodeType) -> tuple[dis.Instruction, ...]:
    known = _disassembled.get(id(code))
    if known is None or known[0] is not code:
        if len(_disassembled) >= _MAX_DISASSEMBLED:
            _disassembled.clear()
        known = _disassembled[id(code)] = code, tuple(dis.get_instructions(code))
    return known[1]


_disassembled: dict[int, tuple[CodeType, tuple[dis.Instruction, ...]]] = {}
"""By the id of a code object, which is held: its own hash fails where torch.compile put a dict among its constants."""
_MAX_DISASSEMBLED = 512


def _text(filename: str, span: Any) -> str | None:
    if span.lineno is None or span.end_lineno is None or span.col_offset is None or span.end_col_offset is None:
        return None
    lines = [linecache.getline(filename, number) for number in range(span.lineno, span.end_lineno + 1)]
    if not all(lines):
        return None
    # Columns count UTF-8 bytes.
    lines[-1] = lines[-1].encode()[: span.end_col_offset].decode(errors="ignore")
    lines[0] = lines[0].encode()[span.col_offset :].decode(errors="ignore")
    text = " ".join(part.strip() for part in lines)
    return text if len(text) <= _MAX_EXPRESSION else None


@lru_cache(maxsize=4096)
def display_path(filename: str, root: Path | None) -> str:
    """Return `filename` without anything of this machine in it: relative to site-packages, the stdlib, or the project.

    Home folders carry user names, and a path must be the same on the machine that gates and the one that measured.

    Args:
        filename: the file of a code object.
        root: the folder of the project; what torch itself or another library has below it is still the library's.
    """
    if filename.startswith("<"):
        return filename
    try:
        path = os.path.realpath(filename)
    except OSError:
        # Relative to a folder that has been removed.
        return os.path.basename(filename)
    for folder, prefix, installed in _roots(root):
        if path.startswith(folder.rstrip(os.sep) + os.sep):
            shown = (prefix + path[len(folder.rstrip(os.sep)) + 1 :]).replace(os.sep, "/")
            # The user's own folder `triton/` is no part of triton.
            return f"./{shown}" if not installed and shown.startswith(LIBRARY_FILES) else shown
    return os.path.basename(path)


def _roots(root: Path | None) -> Iterator[tuple[str, str, bool]]:
    """Yield (folder, what stands for it, whether libraries are installed there), the first match winning."""
    for name in LIBRARIES:
        # Wherever it lies: an editable checkout and a copy under third_party/ are no less a library.
        for folder in getattr(sys.modules.get(name), "__path__", ()):
            yield os.path.realpath(folder), f"{name}/", True
    packages = [*site.getsitepackages(), site.getusersitepackages()]
    packages += [entry for entry in sys.path if entry.rstrip(os.sep).endswith(_PACKAGES)]
    for entry in filter(os.path.isabs, packages):
        yield os.path.realpath(entry), "", True
    for place in ("stdlib", "platstdlib"):
        yield os.path.realpath(sysconfig.get_path(place)), "<stdlib>/", True
    for folder in (root, _STARTED_IN):
        if folder is not None:
            yield os.path.realpath(folder), "", False
    for entry in sys.path:
        if os.path.isabs(entry):
            yield os.path.realpath(entry), "", False


def nearest_frame(frame: FrameType | None) -> FrameType | None:
    """Return `frame`, or for a thread without Python the frame of the only thread that waits in `backward`."""
    if frame is not None:
        return frame
    waiting = [other for other in sys._current_frames().values() if in_backward(other)]
    return waiting[0] if len(waiting) == 1 else None


def is_explicit(frame: FrameType | None) -> bool:
    """Return whether a `synchronize` of torch's own Python called: the user asked for this wait."""
    if frame is None or frame.f_code.co_name != "synchronize":
        return False
    module = frame.f_globals.get("__name__", "")
    return isinstance(module, str) and module.split(".")[0] == "torch"


def in_backward(frame: FrameType) -> bool:
    """Return whether `frame` is where a thread waits for autograd's own threads."""
    return frame.f_code.co_name == BACKWARD.attribute
