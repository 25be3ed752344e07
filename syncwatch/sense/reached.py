"""Notes whether a run reached given functions. What never ran was not judged, however clean the rest is.

From Python 3.12 on `sys.monitoring` says it once for each code object and then stays out of the way. Before, a trace
function is called at each call of a Python function, which makes the run slower; its times then mean less.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

from syncwatch.errors import NotMeasuredError, UsageError


class ReachedFunctions:
    """Watches which of the named functions begin to run inside the block, on every thread that Python started.

    A function that was compiled, or runs in another process, is not seen.

    Args:
        names: functions as `pkg.mod:function` or `pkg.mod:Class.method`; a script's own module is its name without .py.

    Raises:
        UsageError: if a name has no such form.
        NotMeasuredError: on entry, if a debugger or a coverage tool already holds what this needs.
    """

    def __init__(self, names: Sequence[str]) -> None:
        for name in names:
            module, _, function = name.partition(":")
            if not module or not function or function != function.strip():
                raise UsageError(f"{name!r} names no function. Write it as --require pkg.mod:function.")
        self._names = frozenset(names)
        self._missing = set(names)
        self._functions = frozenset(_known_as(name.partition(":")[2]) for name in names)
        self._tool: int | None = None

    def missing(self) -> tuple[str, ...]:
        """Return the names that did not begin to run."""
        return tuple(sorted(self._missing))

    def __enter__(self) -> ReachedFunctions:
        if not self._names:
            return self
        if sys.version_info >= (3, 12):
            self._tool = _free_tool()
            events = sys.monitoring.events
            sys.monitoring.use_tool_id(self._tool, "syncwatch --require")
            sys.monitoring.register_callback(self._tool, events.PY_START, self._started)
            sys.monitoring.restart_events()
            sys.monitoring.set_events(self._tool, events.PY_START)
        else:
            if sys.gettrace() is not None:
                raise NotMeasuredError("A debugger or coverage tool is tracing. Leave it out, or leave out --require.")
            threading.settrace(self._called)
            sys.settrace(self._called)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._names:
            return
        if sys.version_info >= (3, 12):
            if self._tool is not None:
                sys.monitoring.set_events(self._tool, 0)
                sys.monitoring.free_tool_id(self._tool)
        else:
            sys.settrace(None)
            threading.settrace(None)

    if sys.version_info >= (3, 12):

        def _started(self, code: CodeType, offset: int) -> Any:
            if code.co_qualname in self._functions:
                self._note(sys._getframe(1))
            return sys.monitoring.DISABLE

    def _called(self, frame: FrameType, event: str, argument: Any) -> None:
        if _name_of(frame.f_code) in self._functions:
            self._note(frame)

    def _note(self, frame: FrameType) -> None:
        function = _name_of(frame.f_code)
        for module in _modules_of(frame):
            self._missing -= {name for name in self._missing if _known_as_whole(name) == f"{module}:{function}"}


def _modules_of(frame: FrameType) -> tuple[str, ...]:
    """Return what the module of `frame` may be called: `__main__` has a name of its own too."""
    name = str(frame.f_globals.get("__name__"))
    if name != "__main__":
        return (name,)
    spec = frame.f_globals.get("__spec__")
    return (name, spec.name if spec is not None else Path(frame.f_code.co_filename).stem)


def _name_of(code: CodeType) -> str:
    return str(getattr(code, "co_qualname", code.co_name))


def _known_as(function: str) -> str:
    """Return what this Python calls the function: before 3.11 code objects know the last part of their name alone."""
    return function if sys.version_info >= (3, 11) else function.rpartition(".")[2]


def _known_as_whole(name: str) -> str:
    module, _, function = name.partition(":")
    return f"{module}:{_known_as(function)}"


if sys.version_info >= (3, 12):

    def _free_tool() -> int:
        taken = [number for number in range(6) if sys.monitoring.get_tool(number) is None]
        if not taken:
            raise NotMeasuredError("Six tools already watch this Python. Leave one out, or leave out --require.")
        # From the end: debuggers, coverage and profilers have the first numbers.
        return taken[-1]
