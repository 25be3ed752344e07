"""Answers: which copies hold the host although they were asked not to? Wraps the ways to copy, to know the line."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import torch

from syncwatch.model.events import SyncKind
from syncwatch.sense.copying import Side, plan_copy
from syncwatch.sense.recorder import Recorder

_METHODS = ("copy_", "to", "cuda")


class Copies:
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
        self._wrapped: list[str] = []

    def unavailable(self) -> str | None:
        """Return why it cannot run here, or None."""
        return None if torch.cuda.is_available() else "no CUDA GPU: use --device virtual"

    def start(self, recorder: Recorder) -> None:
        """Wrap the methods; one that something else has wrapped already is wrapped around that."""
        self._recorder = recorder
        for name in _METHODS:
            self._wrap(name)

    def stop(self) -> None:
        """Take the wrappers off; the originals stand in `torch._C.TensorBase`."""
        for name in self._wrapped:
            delattr(torch.Tensor, name)
        self._wrapped.clear()
        self._recorder = None

    def _wrap(self, name: str) -> None:
        if name in vars(torch.Tensor):
            return
        original = getattr(torch.Tensor, name)

        def wrapper(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            result = original(tensor, *args, **kwargs)
            if args or kwargs:
                self._look(name, tensor, result, args, kwargs)
            return result

        wrapper.__name__ = name
        setattr(torch.Tensor, name, wrapper)
        self._wrapped.append(name)

    def _look(self, name: str, tensor: torch.Tensor, result: Any, args: Any, kwargs: Any) -> None:
        source, target = (args[0] if args else kwargs.get("src"), tensor) if name == "copy_" else (tensor, result)
        if not isinstance(source, torch.Tensor) or source.is_cuda == target.is_cuda:
            return
        if not _non_blocking(name, args, kwargs):
            return
        converts = source.dtype != target.dtype
        plan = plan_copy(_side(source), _side(target), target.numel(), converts=converts, non_blocking=True)
        recorder = self._recorder
        if plan is not None and plan.wait is SyncKind.COPY and recorder is not None:
            frame: FrameType | None = sys._getframe(1).f_back
            stack = recorder.stack(frame) if frame is not None else None
            recorder.sync(SyncKind.COPY, explicit=False, op=None, sensor=self.name, stack=stack)


def _non_blocking(name: str, args: Any, kwargs: Any) -> bool:
    if "non_blocking" in kwargs:
        return bool(kwargs["non_blocking"])
    if name == "to":
        try:
            return bool(torch._C._nn._parse_to(*args, **kwargs)[2])
        except (TypeError, RuntimeError):  # `to(other_tensor)` has no such form
            return any(argument is True for argument in args[1:2])
    return len(args) > 1 and bool(args[1])


def _side(tensor: torch.Tensor) -> Side:
    on_device = tensor.is_cuda
    return Side(
        on_device=on_device,
        pinned=not on_device and tensor.is_pinned(),
        dense=torch.ops.aten.is_non_overlapping_and_dense(tensor),
        itemsize=tensor.element_size(),
    )
