"""Tells whether there is a CUDA GPU, and when the watched program begins to use it, without using it first.

A process that has initialised CUDA cannot be forked any more: engines that look for it then start their workers another
way, or refuse. So nothing here initialises it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from syncwatch.compat.torch_cuda import SYNCHRONIZE, call_when_initialized, count_devices, devices_in_use


@functools.cache
def has_gpu() -> bool:
    """Return whether torch was built for CUDA and there is a GPU, whatever the virtual device answers for torch."""
    return count_devices() > 0


def is_initialized() -> bool:
    """Return whether torch has initialised CUDA in this process."""
    return bool(torch.cuda.is_initialized())


def is_used_without_torch() -> bool:
    """Return whether something initialised the CUDA driver although torch did not."""
    if is_initialized():
        return False
    try:
        driver = ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except (OSError, AttributeError):
        return False
    return bool(driver.cuCtxGetCurrent(ctypes.byref(ctypes.c_void_p())) == 0)


def finish_work() -> None:
    """Let every GPU that this process uses finish; no hook and no guard takes it for a wait of the program's."""
    wait = SYNCHRONIZE.get_or(torch.cuda.synchronize)
    while hasattr(wait, "__wrapped__"):
        wait = wait.__wrapped__
    for device in devices_in_use():
        # A GPU that failed finishes nothing, and the program has been told.
        with contextlib.suppress(RuntimeError), torch.cuda.device(device):
            wait()


@dataclass(slots=True)
class WhenCudaStarts:
    """Calls `begin` once, as soon as torch has initialised CUDA in this process: now where it already has.

    What is called in the child of a fork, or after `cancel`, does nothing.
    """

    begin: Callable[[], None]
    _pid: int = field(default_factory=os.getpid)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: bool = False

    def __post_init__(self) -> None:
        call_when_initialized(self._called)

    def cancel(self) -> None:
        """Let nothing be called any more."""
        self._claim()

    def _called(self) -> None:
        if os.getpid() == self._pid and self._claim():
            self.begin()

    def _claim(self) -> bool:
        with self._lock:
            first, self._over = not self._over, True
        return first
