"""Answers: how does the device work on tensors without watching itself?"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch


class quiet:  # noqa: N801  # used as `with quiet():`
    """Switches every function and dispatch mode of this thread off."""

    __slots__ = ("_dispatch", "_function")

    def __enter__(self) -> None:
        function: Any = torch._C.DisableTorchFunction()
        dispatch: Any = torch._C._DisableTorchDispatch()
        function.__enter__()
        dispatch.__enter__()
        self._function, self._dispatch = function, dispatch

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dispatch.__exit__(kind, error, trace)
        self._function.__exit__(kind, error, trace)
