"""What a CUDA graph is here: the operators that were captured, computed again into the same memory."""

from __future__ import annotations

import itertools
from ctypes import byref, c_int64
from typing import Any, ClassVar

import torch

from syncwatch.compat import torch_cuda as names
from syncwatch.sense.patching import Patches
from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.native.library import calls
from syncwatch.sense.virtual.torch_api.early_imports import replace

_POOLS = itertools.count(1)
"""Names of pools of memory, never given again."""
_NOT_CAPTURED = "CUDA graphs must be captured before they are replayed"


class _Captured:
    """What C++ keeps of one capture."""

    def __init__(self) -> None:
        self._calls: Any = calls()
        self._handle = self._calls.sw_capture_begin()

    def kernels(self) -> list[tuple[str, int]]:
        """Return names and durations, in the order of the launches."""
        name, duration = c_int64(), c_int64()
        found: list[tuple[str, int]] = []
        for index in range(self._calls.sw_capture_kernels(self._handle)):
            self._calls.sw_capture_kernel(self._handle, index, byref(name), byref(duration))
            found.append((self._calls.sw_name_of(name.value).decode(), duration.value))
        return found

    def compute(self) -> None:
        """Compute everything again.

        Raises:
            RuntimeError: if an operator fails.
        """
        if self._calls.sw_capture_replay(self._handle):
            raise RuntimeError("an operator of the CUDA graph could not be computed again")

    def __del__(self) -> None:
        self._calls.sw_capture_free(self._handle)


class VirtualGraph:
    """Stands for `torch.cuda.CUDAGraph`: kernels are launched once a replay, however many there are."""

    engine: ClassVar[Engine]
    stands_for: ClassVar[type]

    @property  # type: ignore[misc]  # in `object` it can be set too
    def __class__(self) -> type:
        """The class of torch that this stands for: `isinstance` asks it of a class that was imported before."""
        return self.stands_for

    def __init__(self, keep_graph: bool = False) -> None:
        self._captured: _Captured | None = None
        self._pool: int | None = None

    def capture_begin(self, pool: Any = None, capture_error_mode: str = "global", **rest: Any) -> None:
        """Begin to capture; a wait fails from here on, and memory comes from the graph's own pool, or from `pool`.

        Raises:
            RuntimeError: if a capture is underway.
        """
        if self.engine.capturing:
            raise RuntimeError("CUDA error: a stream is capturing already")
        self.reset()
        self.engine.capturing = True
        self._captured = _Captured()
        self._pool = next(_POOLS) if pool is None else pool[1]
        calls().sw_begin_pool(self._pool)

    def capture_end(self) -> None:
        """End the capture, and leave what it would have written as it was: a capture records and runs nothing."""
        self.engine.capturing = False
        calls().sw_capture_end()
        if self._pool is not None:
            calls().sw_end_pool(self._pool)

    def instantiate(self) -> None:
        """Do nothing; there is nothing to build."""

    def replay(self) -> None:
        """Run everything captured again.

        Raises:
            RuntimeError: if nothing was captured.
        """
        if self._captured is None:
            raise RuntimeError(_NOT_CAPTURED)
        with torch.no_grad():
            self._captured.compute()
        self.engine.replay(self._captured.kernels())

    def reset(self) -> None:
        """Forget what was captured, and leave the pool of memory to others that use it."""
        self._captured = None
        if self._pool is not None:
            calls().sw_leave_pool(self._pool)
            self._pool = None

    def __del__(self) -> None:
        self.reset()

    def pool(self) -> tuple[int, int]:
        """Return a name for the memory of this graph.

        Raises:
            RuntimeError: if nothing was captured.
        """
        if self._pool is None:
            raise RuntimeError("Called CUDAGraph::pool() without a preceding successful capture.")
        return (0, self._pool)

    def enable_debug_mode(self) -> None:
        """Do nothing."""


def patch(patches: Patches, engine: Engine) -> None:
    """Replace the names of `torch.cuda` that graphs go by."""
    VirtualGraph.engine = engine
    VirtualGraph.stands_for = torch.cuda.CUDAGraph
    replacements = {
        "CUDAGraph": VirtualGraph,
        "graph_pool_handle": lambda: (0, next(_POOLS)),
        "is_current_stream_capturing": lambda: engine.capturing,
    }
    for name, value in replacements.items():
        for owner in (torch.cuda, torch.cuda.graphs):
            replace(patches, owner, name, value)
    # torch keeps the stream it captures on for ever; a virtual one must not outlive the device.
    patches.set(torch.cuda.graphs.graph, "default_capture_stream", None)
    patches.set_or_add(names.EMPTY_PINNED_CACHE, engine.memory.empty_host_cache)
    patches.set_or_add(names.CLEAR_WORKSPACES, engine.memory.clear_workspaces)
