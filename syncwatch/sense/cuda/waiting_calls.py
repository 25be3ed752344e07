"""The calls that wait without a word from torch's sync debug mode: the few that its users make themselves."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch

from syncwatch.compat.cpython import set_method
from syncwatch.compat.torch_cuda import SYNCHRONIZE, SYNCHRONIZE_ACCELERATOR
from syncwatch.model.events import SyncKind

CallHandler = Callable[[SyncKind, bool, FrameType], None]
"""Takes how it waits, whether that was asked for, and the frame that called; called before the wait."""


@dataclass(slots=True)
class WaitingCalls:
    """Wraps those calls between `start` and `stop`.

    Of 354 idioms on an H200 these are all that wait on the device or an event through torch without a warning; of an
    engine (vLLM 0.20.0), `torch.Event` too, which is a type written in C.
    """

    is_own_call: CallHandler
    _undo: list[tuple[Any, str, Any, Any]] = field(default_factory=list)

    def start(self) -> None:
        """Wrap them."""
        for owner, name, kind, asked in _calls():
            self._wrap(owner, name, kind, asked)

    def stop(self) -> None:
        """Take the wrappers off, where nothing else was put over them."""
        for owner, name, wrapper, before in reversed(self._undo):
            if vars(owner).get(name) is wrapper:
                _put(owner, name, before)
        self._undo.clear()

    def _wrap(self, owner: Any, name: str, kind: SyncKind, asked: bool) -> None:
        before = vars(owner).get(name)
        if before is None:
            return

        @functools.wraps(before)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            self.is_own_call(kind, asked, sys._getframe(1))
            return before(*args, **kwargs)

        if _put(owner, name, wrapper):
            self._undo.append((owner, name, wrapper, before))


def _put(owner: Any, name: str, value: Any) -> bool:
    if isinstance(owner, type):
        return set_method(owner, name, value)
    setattr(owner, name, value)
    return True


def _calls() -> Iterator[tuple[Any, str, SyncKind, bool]]:
    for name in (SYNCHRONIZE, SYNCHRONIZE_ACCELERATOR):
        yield name.owner(), name.attribute, SyncKind.DEVICE, True
    yield torch.cuda.Event, "synchronize", SyncKind.EVENT, True
    # torch.cuda.Event has a method of its own, so that no wait is heard of twice.
    yield torch.Event, "synchronize", SyncKind.EVENT, True
