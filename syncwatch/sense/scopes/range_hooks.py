"""Hooks that record the ranges of torch and nvtx, and the starts of threads, while something is watched.

Patched are the objects that the functions go through, not the names of the functions: a program may have imported
those before anything was watched. Nothing stays patched afterwards.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import torch
import torch.cuda.nvtx

from syncwatch.compat import torch_cuda as names
from syncwatch.sense import active
from syncwatch.sense.patching import Patches
from syncwatch.sense.scopes import nvtx_ranges, scope
from syncwatch.sense.scopes.ranges import IdentityKey, begin, end, is_own_call, suppressed


def patch_thread_starts(patches: Patches) -> None:
    """Note in which steps threads are started from now on, until `patches` are taken back."""
    plain: Callable[..., Any] = threading.Thread.start

    @functools.wraps(plain)
    def start(self: threading.Thread, *args: Any, **kwargs: Any) -> Any:
        for recorder in active.recorders():
            for step in recorder.open_steps:
                step.includes(self)
        return plain(self, *args, **kwargs)

    patches.set(threading.Thread, "start", start)


_PUSHED = "torch.cuda.nvtx"
_STARTED = "torch.cuda.nvtx, started"
_RECORDED = "record_function"


def patch_torch(patches: Patches) -> None:
    """Record the ranges from now on, until `patches` are taken back."""
    _patch_nvtx(patches)
    _patch_record_function(patches)


def _patch_nvtx(patches: Patches) -> None:
    native = names.TORCH_NVTX.get()
    # A build without CUDA has a stand-in whose functions raise; nobody looks at its ranges but us.
    real = not type(native).__name__.endswith("Stub")
    handles = itertools.count(1)

    def push(message: Any) -> Any:
        level = scope.depth(_PUSHED)
        found = native_push(message) if real else level
        if is_own_call():
            block = _block_of(sys._getframe(1))
            ends = scope.RangeEnd.BY_POP if block is None else scope.RangeEnd.WITH_ITS_BLOCK
            begin(scope.OpenRange(str(message), _PUSHED if block is None else (_PUSHED, id(block)), ends))
        return found

    def pop() -> Any:
        found = native_pop() if real else scope.depth(_PUSHED) - 1
        if is_own_call():
            block = _block_of(sys._getframe(1))
            end(_PUSHED if block is None else (_PUSHED, id(block)))
        return found

    def start(message: Any) -> Any:
        handle = native_start(message) if real else next(handles)
        if is_own_call():
            begin(scope.OpenRange(str(message), (_STARTED, handle), scope.RangeEnd.BY_HANDLE))
        return handle

    def finish(handle: Any) -> None:
        if real:
            native_end(handle)
        if is_own_call():
            end((_STARTED, handle))

    calls = ("rangePushA", "rangePop", "rangeStartA", "rangeEnd")
    native_push, native_pop, native_start, native_end = (getattr(native, name, None) or _nothing for name in calls)
    for name, function in zip(calls, (push, pop, start, finish), strict=True):
        patches.set(native, name, function)
    if not real:
        patches.set(native, "markA", _nothing)


def _nothing(*_: Any, **__: Any) -> int:
    return 0


def _block_of(caller: FrameType) -> FrameType | None:
    """Return the running `torch.cuda.nvtx.range` behind `caller`, so that two that overlap are not mistaken."""
    block = caller.f_back
    return block if block is not None and block.f_code is _RANGE_CODE else None


_RANGE_CODE = torch.cuda.nvtx.range.__wrapped__.__code__  # type: ignore[attr-defined]  # functools.wraps sets it


def _patch_record_function(patches: Patches) -> None:
    for name in (names.ENTER, names.ENTER_NEW):
        for operator in names.overloads_of(name):
            patches.set(operator, "_op", _entering(operator._op))
    # A range whose end waits for a future ends here where its block does.
    for name in (names.EXIT, names.EXIT_LATER):
        for operator in names.overloads_of(name):
            patches.set(operator, "_op", _leaving(operator._op))


def _entering(plain: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(plain)
    def enter(*args: Any, **kwargs: Any) -> Any:
        if not is_own_call():
            return plain(*args, **kwargs)
        # A torch function mode, such as a default device, is called by the operator, and calls it again.
        with suppressed():
            handle = plain(*args, **kwargs)
        name = args[0] if args else kwargs.get("name", "")
        entered = scope.OpenRange(str(name), (_RECORDED, IdentityKey(handle)), scope.RangeEnd.BY_HANDLE, block=True)
        begin(entered)
        return handle

    return enter


def _leaving(plain: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(plain)
    def leave(*args: Any, **kwargs: Any) -> Any:
        if not is_own_call():
            return plain(*args, **kwargs)
        with suppressed():
            found = plain(*args, **kwargs)
        handle = args[0] if args else next(iter(kwargs.values()), None)
        end((_RECORDED, IdentityKey(handle)))
        return found

    return leave


_lock = threading.Lock()
_patches = Patches()
_watches = 0


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Record the ranges of torch and nvtx inside, too; blocks nest and may overlap."""
    install()
    try:
        yield
    finally:
        uninstall()


def install() -> None:
    """Record the ranges of torch and nvtx from now on, until `uninstall` was called as often."""
    global _watches
    with _lock:
        _watches += 1
        if _watches == 1:
            patch_torch(_patches)
            nvtx_ranges.patch(_patches)
            patch_thread_starts(_patches)


def uninstall() -> None:
    """Record them no more, and leave nothing patched."""
    global _watches
    with _lock:
        _watches -= 1
        if not _watches:
            _patches.restore()
            scope.close_foreign_ranges()
