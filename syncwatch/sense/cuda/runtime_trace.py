"""Reads what torch's profiler recorded for the CUDA sensor: the calls that waited, and the work of the GPU.

The rows have no lines; `join` and `join_run` give them those of the hooks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from syncwatch.errors import NotMeasuredError, SessionError
from syncwatch.model.events import STEP_RANGE, KernelEvent, RangeEvent
from syncwatch.traces.copy_waits import TraceCopy, TraceWait, waits_of
from syncwatch.traces.kineto.load import collected, processes_in
from syncwatch.traces.kineto.read_file import Trace
from syncwatch.traces.nesting import Window


@dataclass(frozen=True, slots=True)
class Thread:
    """A host thread of the trace."""

    tid: int | None
    """The system's number; None where the profiler wrote none."""
    name: str


@dataclass(frozen=True, slots=True)
class RuntimeTrace:
    """What CUPTI recorded inside the window, in epoch ns; threads are indices into `threads`."""

    waits: tuple[TraceWait, ...]
    """Calls that waited or allocated, by their start."""
    copies: tuple[TraceCopy, ...]
    """Each with the call that asked for it, and by the start of that call."""
    kernels: tuple[KernelEvent, ...]
    """Kernels and memsets by their start, each with the call that asked for it."""
    steps: tuple[RangeEvent, ...]
    threads: tuple[Thread, ...]
    window: tuple[int, int]
    notes: tuple[str, ...] = ()
    """What a reader should know of the record, a sentence each."""


def read_trace(path: Path) -> RuntimeTrace:
    """Read the trace at `path`, which torch's profiler wrote for `Cupti`.

    Raises:
        NotMeasuredError: if it cannot be read, or holds no window, that is no profile of ours.
    """
    try:
        trace = Trace(path)
        found = collected(trace)
    except SessionError as error:
        raise NotMeasuredError(f"What the profiler wrote cannot be read: {error}") from error
    for process in processes_in(trace, found, step_range=None):
        window = Window(process.ranges).span
        if window is None:
            continue
        waits, copies = waits_of(process)
        ids = process.thread_ids or (None,)
        lost = f"{found.left_out} rows of the profiler's record cannot be read, so waits among them are missing."
        return RuntimeTrace(
            waits=waits,
            # The profiler itself works on the GPU while it starts, by calls outside the window.
            copies=tuple(copy for copy in copies if copy.event.call is not None),
            kernels=tuple(kernel for kernel in process.kernels or () if kernel.call is not None),
            steps=tuple(each for each in process.ranges if each.name.startswith(f"{STEP_RANGE} ")),
            threads=tuple(Thread(tid, name) for tid, name in zip(ids, process.threads, strict=True)),
            window=window,
            notes=(lost,) if found.left_out else (),
        )
    raise NotMeasuredError("The profiler recorded nothing of the run. Run again without another profiler.")
