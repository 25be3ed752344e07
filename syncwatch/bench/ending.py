"""Answers: what does Python still do when a program's code has ended? The same, here, while the program is watched.

`Py_FinalizeEx` calls what `threading` was told to call, joins the threads that are no daemons, and then calls what
`atexit` was told, the last first. Any of it may wait for the GPU, and all of it belongs to the program. What was
registered before the program began is left to Python.
"""

from __future__ import annotations

import atexit
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
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
            trace = error.__traceback__
            said = "Exception ignored in atexit callback"
            told = (type(error), error, trace.tb_next if trace is not None else None, said, self.function)
            sys.unraisablehook(sys.UnraisableHookArgs(told))  # type: ignore[misc, call-arg]  # a structseq


@dataclass(slots=True)
class Ending:
    """Inside the block `atexit` registers here; `reach` then does what Python does when the main code has ended.

    What was registered and not called is handed to Python when the block ends, so that nothing is lost.
    """

    _callbacks: list[_Callback] = field(default_factory=list)
    _threads: set[threading.Thread] = field(default_factory=set)
    _finalizers: set[Any] = field(default_factory=set)
    _plain: tuple[Any, Any] | None = None

    def __enter__(self) -> Ending:
        self._threads = set(threading.enumerate())
        self._finalizers = set(_finalizers())
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

    def _join_threads(self) -> None:
        for call in reversed(list(getattr(threading, "_threading_atexits", ()))):
            call()
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


def _finalizers() -> dict[Any, int]:
    """Return what `weakref.finalize` would run at the end, with its place in the order."""
    registry = getattr(weakref.finalize, "_registry", {})
    return {each: int(getattr(info, "index", 0)) for each, info in list(registry.items()) if each.atexit}


def _join_processes() -> None:
    """Wait for the children that `multiprocessing` started and end its daemons, as it does last of all."""
    processes = sys.modules.get("multiprocessing.process")
    util = sys.modules.get("multiprocessing.util")
    end = getattr(util, "_exit_function", None)
    if end is None or not getattr(processes, "_children", None):
        return
    _Callback(end, (), {})()
    if getattr(util, "_exiting", None) is True:
        util._exiting = False  # type: ignore[union-attr]
