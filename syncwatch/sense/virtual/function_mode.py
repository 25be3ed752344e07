"""Answers: what does each torch function see of the device? The mode that stands between Python and torch."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from torch.overrides import TorchFunctionMode

from syncwatch.sense.virtual.engine import Engine, Target, ThreadState

Handler = Callable[["VirtualFunctionMode", Any, tuple[Any, ...], dict[str, Any]], Any]
"""Takes the mode, the torch function and its arguments, and returns what the function would on CUDA."""


class VirtualFunctionMode(TorchFunctionMode):
    """Sees every torch function that Python calls on one thread."""

    def __init__(self, engine: Engine, state: ThreadState, handlers: dict[Any, Handler], by_device: Handler) -> None:
        super().__init__()
        self.engine = engine
        self.state = state
        self._handlers = handlers
        self._by_device = by_device

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Hand the call to its handler, or pass it on."""
        if self.engine.active:
            handler = self._handlers.get(func)
            if handler is None and type(func) is FunctionType:
                # Something wrapped a method of torch.Tensor, and torch hands out the wrapper.
                func = getattr(func, "__wrapped__", func)
                handler = self._handlers.get(func)
            if handler is not None:
                return handler(self, func, args, kwargs or {})
            if kwargs and ("device" in kwargs or "pin_memory" in kwargs):
                return self._by_device(self, func, args, kwargs)
        # As `call` does, without one call more for every function of torch.
        state = self.state
        outer_call, outer_target = state.call, state.target
        state.call, state.target = args, Target.INFER
        try:
            return func(*args, **kwargs) if kwargs else func(*args)
        finally:
            state.call, state.target = outer_call, outer_target

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None, target: Target) -> Any:
        """Call a torch function, its outputs belonging to `target`."""
        state = self.state
        outer_call, outer_target = state.call, state.target
        state.call, state.target = args, target
        try:
            return func(*args, **kwargs) if kwargs else func(*args)
        finally:
            state.call, state.target = outer_call, outer_target

    def muted(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a torch function whose operators ask less of the runtime on CUDA than on the CPU."""
        self.state.muted = True
        try:
            return self.call(func, args, kwargs, Target.INFER)
        finally:
            self.state.muted = False
