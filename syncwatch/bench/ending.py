"""Does for a watched program what Python does when a program's code has ended, so that its waits there are seen too.

`Py_FinalizeEx` calls what `threading` was told to call, joins the threads that are no daemons, and then calls what
`atexit` was told, the last first. Any of it may wait for the GPU, and all of it belongs to the program. What was
registered before the program began is left to Python.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import io
import sys
import sysconfig
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

_EXECUTORS = (("concurrent.futures.thread", "_shutdown"), ("concurrent.futures.process", "_global_shutdown"))
"""What the calls of `threading` set for good, so that nothing more may be submitted; syncwatch goes on afterwards."""


@dataclass(frozen=True, slots=True)
class _Callback:
    """One call of `atexit.register`."""

    function: Callable[..., object]
    arguments: tuple[Any, ...]
    named: dict[str, Any]

    def __call__(self) -> None:
        """Call it; what it raises is written to stderr and goes no further, as in Python."""
        try:
            self.function(*self.arguments, **self.named)
        except BaseException as error:
            _report_error(error, self.function)


def _report_error(error: BaseException, function: Callable[..., object]) -> None:
    trace = error.__traceback__.tb_next if error.__traceback__ is not None else None
    fields = (type(error), error, trace, "Exception ignored in atexit callback", function)
    sys.unraisablehook(_arguments_type()(fields))


@functools.cache
def _arguments_type() -> Any:
    """Return what `sys.unraisablehook` takes: Python's own hook refuses all else, and Python gives it no name."""

    class Raises:
        def __del__(self) -> None:
            raise RuntimeError

    found: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, lambda arguments: found.append(type(arguments))
    try:
        Raises()
    finally:
        sys.unraisablehook = before
    return found[0]


@dataclass(slots=True)
class Ending:
    """Inside the block `atexit` registers here; `reach` then does what Python does when the main code has ended.

    What was registered and not called is handed to Python when the block ends, so that nothing is lost.
    """

    _callbacks: list[_Callback] = field(default_factory=list)
    _threads: set[threading.Thread] = field(default_factory=set)
    _finalizers: set[Any] = field(default_factory=set)
    _modules: frozenset[str] = frozenset()
    _calls: int = 0
    """How many calls `threading` had been told to make before."""
    _plain: tuple[Any, Any] | None = None

    def __enter__(self) -> Ending:
        self._threads = set(threading.enumerate())
        self._finalizers = set(_finalizers())
        self._modules = frozenset(sys.modules)
        self._calls = len(getattr(threading, "_threading_atexits", ()))
        self._plain = (atexit.register, atexit.unregister)
        atexit.register, atexit.unregister = self._register, self._unregister  # type: ignore[assignment]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._plain is not None:
            register, atexit.unregister = self._plain
            atexit.register = register
            for each in self._callbacks:
                register(each.function, *each.arguments, **each.named)
        self._callbacks.clear()

    def _register(self, func: Callable[..., object], /, *args: Any, **kwargs: Any) -> Callable[..., object]:
        if not callable(func):
            raise TypeError("the first argument must be callable")
        self._callbacks.append(_Callback(func, args, kwargs))
        return func

    def _unregister(self, func: Callable[..., object], /) -> None:
        self._callbacks[:] = [each for each in self._callbacks if each.function != func]
        if self._plain is not None:
            self._plain[1](func)

    def reach(self) -> None:
        """Do what Python does at the end of a program, in its order."""
        self._join_threads()
        while self._callbacks:
            self._callbacks.pop()()
        self._run_finalizers()
        _join_processes()

    def forget(self) -> None:
        """Let go of the modules that the target brought, as Python does last; what is in their globals ends with them.

        Once `sys.modules` is gone torch runs no operator in Python any more, so that nothing of it is left for then.
        """
        for name in set(sys.modules) - self._modules:
            if _is_users(sys.modules[name]):
                # Whoever looks for the files that took part still finds them.
                empty = ModuleType(name)
                empty.__file__ = sys.modules[name].__file__
                sys.modules[name] = empty
        # Functions and their globals are cycles.
        gc.collect()

    def _join_threads(self) -> None:
        calls = getattr(threading, "_threading_atexits", [])
        for call in reversed(list(calls)):
            call()
        # Python calls the others once more.
        del calls[self._calls :]
        while left := [each for each in threading.enumerate() if self._is_waited_for(each)]:
            for thread in left:
                thread.join()
        for name, flag in _EXECUTORS:
            module = sys.modules.get(name)
            if getattr(module, flag, None) is True:
                setattr(module, flag, False)

    def _is_waited_for(self, thread: threading.Thread) -> bool:
        return not thread.daemon and thread not in self._threads and thread is not threading.current_thread()

    def _run_finalizers(self) -> None:
        """Run the `weakref.finalize` of the target where the call that does it was registered before, as by torch."""
        new = {each: order for each, order in _finalizers().items() if each not in self._finalizers}
        for each in sorted(new, key=lambda finalizer: new[finalizer], reverse=True):
            _Callback(each, (), {})()


def skip_final_collections() -> None:
    """Let Python end without looking for cycles among all that is left, once the target's own are gone.

    It looks several times as it ends, which took 0.7 s of the 1.1 s from the last line of a small program to its end.
    Only for a process that ends soon: no cycle of now is ever found again. What a file in one holds is written.
    Nothing is spared where classes of nanobind are, as in Triton since 3.9: at the end it writes a line about each
    object that is left.
    """
    counted = False
    for each in gc.get_objects():
        counted = counted or getattr(type(each), "__module__", None) == "nanobind"
        if type(each) in _BUFFERS:
            # As when it is let go of: one that is closed, or whose reader is gone, has nothing to write.
            with contextlib.suppress(OSError, ValueError):
                each.flush()
    if not counted:
        gc.freeze()


_BUFFERS = frozenset({io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom})


def _finalizers() -> dict[Any, int]:
    """Return what `weakref.finalize` would run at the end, with its place in the order."""
    registry = getattr(weakref.finalize, "_registry", {})
    return {each: int(getattr(info, "index", 0)) for each, info in list(registry.items()) if each.atexit}


def _is_users(module: object) -> bool:
    """Return whether it is neither Python's, nor installed, nor ours."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return False
    path = Path(file)
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return not installed and not any(path.is_relative_to(folder) for folder in _NOT_USERS)


_NOT_USERS = (*(sysconfig.get_path(name) for name in ("stdlib", "platstdlib")), str(Path(__file__).parents[1]))


def _join_processes() -> None:
    """Wait for the children that `multiprocessing` started, end its daemons and finalizers, as it does last of all."""
    processes = sys.modules.get("multiprocessing.process")
    util = sys.modules.get("multiprocessing.util")
    end = getattr(util, "_exit_function", None)
    if end is None or not (getattr(processes, "_children", None) or getattr(util, "_finalizer_registry", None)):
        return
    _Callback(end, (), {})()
    if getattr(util, "_exiting", None) is True:
        util._exiting = False  # type: ignore[union-attr]
