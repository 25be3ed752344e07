"""Answers: what is a CUDA graph here? The operators that were captured, run again into the same memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from syncwatch.sense.virtual.early_imports import replace
from syncwatch.sense.virtual.engine import Capture, Engine
from syncwatch.sense.virtual.patching import Patches
from syncwatch.sense.virtual.quiet import quiet

_NOT_CAPTURED = "CUDA graphs must be captured before they are replayed"


@dataclass(slots=True)
class Recorded(Capture):
    """What a graph holds."""

    operators: list[Callable[[], None]] = field(default_factory=list)

    def operator(self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Keep one operator, to be run again with its output written over the first one's."""

        def again() -> None:
            _write_over(out, call(*args, **kwargs))

        self.operators.append(again)


def _write_over(before: Any, after: Any) -> None:
    if isinstance(before, torch.Tensor):
        if after is not before and before.numel():
            before.copy_(after)
    elif isinstance(before, (tuple, list)):
        for old, new in zip(before, after, strict=True):
            _write_over(old, new)


class _CaptureGuard(TorchDispatchMode):
    """Keeps the memory that captured operators write over, as it was before the first of them."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.is_mutable:
            named = kwargs or {}
            for place, argument in enumerate(func._schema.arguments):
                if argument.alias_info is not None and argument.alias_info.is_write:
                    self._keep(args[place] if place < len(args) else named.get(argument.name))
        return func(*args, **(kwargs or {}))

    def _keep(self, value: Any) -> None:
        if isinstance(value, (list, tuple)):
            for each in value:
                self._keep(each)
        elif isinstance(value, torch.Tensor):
            storage = value.untyped_storage()
            if storage._cdata not in self._before:
                with quiet():
                    self._before[storage._cdata] = (storage, storage.clone())

    def restore(self) -> None:
        """Put everything back."""
        with quiet():
            for storage, before in self._before.values():
                storage.copy_(before)
        self._before.clear()


class VirtualGraph:
    """Stands for `torch.cuda.CUDAGraph`: kernels are launched once a replay, however many there are."""

    engine: ClassVar[Engine]
    stands_for: ClassVar[type]

    @property  # type: ignore[misc]  # in `object` it can be set too
    def __class__(self) -> type:
        """The class of torch that this stands for: `isinstance` asks it of a class that was imported before."""
        return self.stands_for

    def __init__(self, keep_graph: bool = False) -> None:
        self._recorded: Recorded | None = None
        self._guard: Any = None
        """Stands around the operators while they are captured."""

    def capture_begin(self, pool: Any = None, capture_error_mode: str = "global", **rest: Any) -> None:
        """Begin to capture; a wait fails from here on.

        Raises:
            RuntimeError: if a capture is underway.
        """
        if self.engine.capture is not None:
            raise RuntimeError("CUDA error: a stream is capturing already")
        self.engine.capture = self._recorded = Recorded()
        self._guard = _CaptureGuard()
        self._guard.__enter__()

    def capture_end(self) -> None:
        """End the capture, and leave what it would have written as it was: a capture records and runs nothing."""
        self.engine.capture = None
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.__exit__(None, None, None)
            guard.restore()

    def instantiate(self) -> None:
        """Do nothing; there is nothing to build."""

    def replay(self) -> None:
        """Run everything captured again.

        Raises:
            RuntimeError: if nothing was captured.
        """
        recorded = self._recorded
        if recorded is None:
            raise RuntimeError(_NOT_CAPTURED)
        with quiet(), torch.no_grad():
            for operator in recorded.operators:
                operator()
        self.engine.replay(recorded)

    def reset(self) -> None:
        """Forget what was captured."""
        self._recorded = None

    def pool(self) -> tuple[int, int]:
        """Return a name for the memory of this graph."""
        return (0, id(self))

    def enable_debug_mode(self) -> None:
        """Do nothing."""


def patch(patches: Patches, engine: Engine) -> None:
    """Replace the names of `torch.cuda` that graphs go by."""
    VirtualGraph.engine = engine
    VirtualGraph.stands_for = torch.cuda.CUDAGraph
    replacements = {
        "CUDAGraph": VirtualGraph,
        "graph_pool_handle": lambda: (0, 0),
        "is_current_stream_capturing": lambda: engine.capture is not None,
    }
    for name, value in replacements.items():
        for owner in (torch.cuda, torch.cuda.graphs):
            replace(patches, owner, name, value)
    # torch keeps the stream it captures on for ever; a virtual one must not outlive the device.
    patches.set(torch.cuda.graphs.graph, "default_capture_stream", None)
    patches.set(torch._C, "_host_emptyCache", lambda: None)
