"""Finds copies that hold the host although they were asked not to: wraps the ways to copy, to know the line."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch

from syncwatch.compat.torch_cuda import asks_not_to_block
from syncwatch.model.events import SyncKind
from syncwatch.sense.copy_plan import Side, plan_copy
from syncwatch.sense.cuda.start import has_gpu
from syncwatch.sense.recorder import Recorder

_METHODS = ("copy_", "to", "cuda")

Listener = Callable[["FrameType | None"], None]
"""Takes the frame that copied."""


class BlockingCopies:
    """Wraps `Tensor.copy_`, `Tensor.to` and `Tensor.cuda` while it runs.

    A non-blocking copy makes no synchronization call, so no other hook hears of it. On an H200 the host stood still
    for all queued work in `pageable.copy_(gpu, non_blocking=True)`, in the same into gapped pinned memory, and in large
    uploads from pageable memory; small uploads did not wait.
    """

    name = "copies"
    sees = "non-blocking copies that block after all (pageable or gapped host memory), with their line"
    blind_to: tuple[str, ...] = ("copies that C++ asks for",)

    def __init__(self) -> None:
        self._recorder: Recorder | None = None

    def unavailable(self) -> str | None:
        """Return why it cannot run here, or None."""
        return None if has_gpu() else "no CUDA GPU: use --device virtual"

    def start(self, recorder: Recorder) -> None:
        """Wrap the methods; one that something else has wrapped already is wrapped around that."""
        self._recorder = recorder
        listen(self._on_copy)

    def stop(self) -> None:
        """Take the wrappers off, unless another still listens."""
        if self._recorder is not None:
            self._recorder = None
            unlisten(self._on_copy)

    def _on_copy(self, frame: FrameType | None) -> None:
        recorder = self._recorder
        if recorder is not None:
            stack = recorder.stack(frame) if frame is not None else None
            heard = recorder.now_ns()
            recorder.sync(SyncKind.COPY, explicit=False, op=None, sensor=self.name, stack=stack, end_ns=heard)


_listeners: tuple[Listener, ...] = ()
_kept = False
"""Whether the wrappers stay on when nobody listens."""
_wrapped: dict[str, tuple[Any, Any]] = {}
"""By name the wrapper, and what stood in `torch.Tensor` before; None where that inherits from `torch._C.TensorBase`."""
_lock = threading.Lock()


def listen(listener: Listener) -> None:
    """Tell `listener` of each copy that held the host; the first one puts the wrappers on."""
    global _listeners
    with _lock:
        _listeners = (*_listeners, listener)
        if not _wrapped:
            for name in _METHODS:
                _wrap(name)


def unlisten(listener: Listener, *, keep: bool = False) -> None:
    """Tell `listener` no more; the last one takes the wrappers off.

    Args:
        listener: who was told.
        keep: leave the wrappers on from now on, deaf while nobody listens: whoever listens often pays for each change
            of `torch.Tensor`, since Python then looks all its methods up anew.
    """
    global _listeners, _kept
    with _lock:
        _kept = _kept or keep
        _listeners = tuple(each for each in _listeners if each != listener)
        if not _listeners and not _kept:
            for name, (wrapper, before) in _wrapped.items():
                _unwrap(name, wrapper, before)
            _wrapped.clear()


def _wrap(name: str) -> None:
    original = getattr(torch.Tensor, name)

    def wrapper(tensor: torch.Tensor, /, *args: Any, **kwargs: Any) -> Any:
        result = original(tensor, *args, **kwargs)
        if _listeners and (args or kwargs) and _held(name, tensor, result, args, kwargs):
            frame: FrameType | None = sys._getframe(1)
            for listener in _listeners:
                listener(frame)
        return result

    wrapper.__name__ = name
    _wrapped[name] = (wrapper, vars(torch.Tensor).get(name))
    setattr(torch.Tensor, name, wrapper)


def _unwrap(name: str, wrapper: Any, before: Any) -> None:
    if vars(torch.Tensor).get(name) is not wrapper:
        return
    if before is None:
        delattr(torch.Tensor, name)
    else:
        setattr(torch.Tensor, name, before)


def _held(name: str, tensor: torch.Tensor, result: Any, args: Any, kwargs: Any) -> bool:
    """Return whether this copy between host and GPU was asked not to hold the host, and held it."""
    source, target = (
        (args[0] if args else kwargs.get("other", kwargs.get("src")), tensor) if name == "copy_" else (tensor, result)
    )
    if not isinstance(source, torch.Tensor) or source.is_cuda == target.is_cuda:
        return False
    if not _non_blocking(name, args, kwargs):
        return False
    converts = source.dtype != target.dtype
    host = target if source.is_cuda else source
    if not converts and host.is_contiguous() and host.is_pinned():
        return False  # what careful code does, so that it pays for no plan
    plan = plan_copy(_side(source), _side(target), target.numel(), converts=converts, non_blocking=True)
    return plan is not None and plan.wait is SyncKind.COPY


def _non_blocking(name: str, args: Any, kwargs: Any) -> bool:
    if "non_blocking" in kwargs:
        return bool(kwargs["non_blocking"])
    if name == "to":
        return asks_not_to_block(args, kwargs)
    return len(args) > 1 and bool(args[1])


def _side(tensor: torch.Tensor) -> Side:
    size = tensor.element_size()
    if tensor.is_cuda:
        # How it lies on the device decides nothing, and asking is a call of an operator.
        return Side(on_device=True, pinned=False, dense=True, itemsize=size)
    dense = tensor.is_contiguous() or torch.ops.aten.is_non_overlapping_and_dense(tensor)
    return Side(on_device=False, pinned=tensor.is_pinned(), dense=dense, itemsize=size)
