"""Answers: what did the CUDA runtime do, and for how long? CUPTI's record, through torch.profiler."""

from __future__ import annotations

import contextlib
import gc
import json
import re
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.sense import active
from syncwatch.sense.copying import STAGED_BYTES
from syncwatch.sense.names import PACING_RANGE, STEP_RANGE, WINDOW_RANGE

_SYNC_CALLS = {
    "cudaStreamSynchronize": SyncKind.STREAM,
    "cudaDeviceSynchronize": SyncKind.DEVICE,
    "cudaEventSynchronize": SyncKind.EVENT,
    "cuStreamSynchronize": SyncKind.STREAM,
    "cuCtxSynchronize": SyncKind.DEVICE,
    "cuEventSynchronize": SyncKind.EVENT,
}
_COPY_NAME = re.compile(r"Memcpy (?P<direction>\w+) \((?P<source>\w+) -> (?P<target>\w+)\)")
_DIRECTIONS = {"HtoD": Direction.H2D, "DtoH": Direction.D2H, "DtoD": Direction.D2D}


@dataclass(frozen=True, slots=True)
class Span:
    """A named interval on one host thread, in epoch ns."""

    tid: int
    name: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class SyncCall:
    """A runtime call that waited."""

    tid: int
    kind: SyncKind
    start_ns: int
    end_ns: int
    op: str | None
    op_start_ns: int | None
    """When the operator began: calls of one operator share it."""
    pacing: bool


@dataclass(frozen=True, slots=True)
class CopyCall:
    """A copy on the device's engines, with the host call that asked for it."""

    tid: int
    asked_ns: int
    returned_ns: int
    direction: Direction
    memory: HostMemory | None
    bytes: int
    blocking: bool
    """Whether the host waited for it, by a synchronization call or inside the copy call itself."""
    op: str | None
    op_start_ns: int | None
    stream: int
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class KernelRun:
    """A kernel or memset on a stream, with the time of the host call that launched it."""

    asked_ns: int
    name: str
    stream: int
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class RuntimeTrace:
    """What CUPTI recorded inside the window, each kind in the order of its host calls."""

    syncs: tuple[SyncCall, ...]
    copies: tuple[CopyCall, ...]
    kernels: tuple[KernelRun, ...]
    steps: tuple[Span, ...]
    window: tuple[int, int]


class Cupti:
    """Runs torch.profiler with CUDA activity and synchronization events switched on."""

    name = "cupti"
    sees = "every runtime call, copy and kernel, from any library, with its time"
    blind_to = ("the Python line, which is joined from the other sensors",)

    def __init__(self) -> None:
        self._profiler: Any = None

    def unavailable(self) -> str | None:
        """Return why it cannot run here, or None."""
        if not torch.cuda.is_available():
            return "no CUDA GPU: use --device virtual"
        if torch.profiler.ProfilerActivity.CUDA not in torch.profiler.supported_activities():
            return "this torch was built without CUPTI: install a build with CUDA profiling"
        return None

    def start(self) -> None:
        """Start to record.

        Raises:
            NotMeasuredError: if CUPTI is taken, as by another profiler.
        """
        if active.profiling():
            raise NotMeasuredError("the watch around this one measures them, and CUPTI serves one at a time.")
        # Work that was queued before would be recorded without the calls that launched it.
        torch.cuda.synchronize()
        config = torch._C._profiler._ExperimentalConfig(enable_cuda_sync_events=True)
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        self._profiler = torch.profiler.profile(
            activities=activities,
            experimental_config=config,
            acc_events=True,  # without it torch warns of cycles, and there is only one
        )
        try:
            self._profiler.start()
        except RuntimeError as error:
            self._profiler = None
            raise NotMeasuredError(f"CUPTI did not start ({error}); end any other profiler and run again.") from error

    def stop(self) -> RuntimeTrace:
        """Stop, and return what was recorded.

        Raises:
            NotMeasuredError: if the profiler gave no trace.
        """
        profiler, self._profiler = self._profiler, None
        try:
            profiler.stop()
        except RuntimeError as error:
            raise NotMeasuredError(f"CUPTI was stopped by another profiler ({error}); end it and run again.") from error
        with tempfile.TemporaryDirectory(prefix="syncwatch-") as folder:
            path = Path(folder) / "trace.json"
            profiler.export_chrome_trace(str(path))
            del profiler
            with _collector_off():
                return read_trace(json.loads(path.read_bytes().decode("utf-8", errors="replace")))


@contextlib.contextmanager
def _collector_off() -> Iterator[None]:
    """Keep the cyclic collector out: it walks millions of fresh dictionaries over and over."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def read_trace(document: dict[str, Any]) -> RuntimeTrace:
    """Read the Chrome trace that torch.profiler wrote.

    Args:
        document: the parsed file; `ts` and `dur` are microseconds after `baseTimeNanoseconds`.

    Raises:
        NotMeasuredError: if the trace holds no window, that is no profile of ours.
    """
    base = int(document.get("baseTimeNanoseconds", 0))
    rows = [row for row in document["traceEvents"] if row.get("ph") == "X" and "ts" in row]
    annotations = [_span(row, base) for row in rows if row.get("cat") == "user_annotation"]
    windows = [span for span in annotations if span.name == WINDOW_RANGE]
    if not windows:
        raise NotMeasuredError("The profiler recorded nothing of the run. Run again without another profiler.")
    window = (min(span.start_ns for span in windows), max(span.end_ns for span in windows))
    calls = _HostCalls(rows, base, annotations, window)
    return RuntimeTrace(
        syncs=calls.syncs,
        copies=calls.copies,
        kernels=tuple(calls.kernels(rows)),
        steps=tuple(sorted(_steps(annotations), key=lambda span: span.start_ns)),
        window=window,
    )


def _steps(annotations: list[Span]) -> Iterator[Span]:
    return (span for span in annotations if span.name.startswith(f"{STEP_RANGE} "))


def _span(row: dict[str, Any], base: int) -> Span:
    start = base + round(row["ts"] * 1000)
    tid = row.get("tid")
    return Span(tid if isinstance(tid, int) else -1, row["name"], start, start + round(row.get("dur", 0) * 1000))


class _HostCalls:
    """The runtime calls of every thread, with the operator around each."""

    def __init__(self, rows: list[dict[str, Any]], base: int, annotations: list[Span], window: tuple[int, int]) -> None:
        self._base = base
        self._window = window
        self._pacing = _Intervals([span for span in annotations if span.name == PACING_RANGE])
        self._ops = _Intervals([_span(row, base) for row in rows if row.get("cat") == "cpu_op"])
        self._calls: list[Span] = []
        self._by_correlation: dict[int, Span] = {}
        for row in rows:
            if row.get("cat") not in ("cuda_runtime", "cuda_driver"):
                continue
            span = _span(row, base)
            self._calls.append(span)
            correlation = row.get("args", {}).get("correlation")
            if correlation is not None:
                self._by_correlation[correlation] = span
        self._calls.sort(key=lambda span: span.start_ns)
        calls = tuple(self._syncs())
        self._waited = {(call.tid, call.op_start_ns) for call in calls if call.op_start_ns is not None}
        self.copies = tuple(self._copies(rows))
        held = (self._held(copy) for copy in self.copies if copy.blocking and not self._is_waited_for(copy))
        self.syncs = tuple(sorted((*calls, *held), key=lambda call: call.start_ns))

    def _held(self, copy: CopyCall) -> SyncCall:
        """Return the wait inside a copy call that no synchronization call follows."""
        pacing = self._pacing.around(copy.tid, copy.asked_ns) is not None
        return SyncCall(copy.tid, SyncKind.COPY, copy.asked_ns, copy.returned_ns, copy.op, copy.op_start_ns, pacing)

    def _is_waited_for(self, copy: CopyCall) -> bool:
        return copy.op_start_ns is not None and (copy.tid, copy.op_start_ns) in self._waited

    def _syncs(self) -> Iterator[SyncCall]:
        for span in self._calls:
            kind = _SYNC_CALLS.get(span.name)
            if kind is None or not self._inside(span.start_ns):
                continue
            op = self._ops.around(span.tid, span.start_ns)
            yield SyncCall(
                tid=span.tid,
                kind=kind,
                start_ns=span.start_ns,
                end_ns=span.end_ns,
                op=_op_name(op),
                op_start_ns=None if op is None else op.start_ns,
                pacing=self._pacing.around(span.tid, span.start_ns) is not None,
            )

    def _copies(self, rows: list[dict[str, Any]]) -> Iterator[CopyCall]:
        found = []
        for row in rows:
            call = self._asked_by(row) if row.get("cat") == "gpu_memcpy" else None
            match = _COPY_NAME.match(row["name"]) if call is not None else None
            direction = _DIRECTIONS.get(match["direction"]) if match else None
            if call is None or match is None or direction is None:
                continue
            found.append(self._copy(row, call, direction, {match["source"], match["target"]}))
        return iter(sorted(found, key=lambda copy: copy.asked_ns))

    def _copy(self, row: dict[str, Any], call: Span, direction: Direction, ends: set[str]) -> CopyCall:
        span = _span(row, self._base)
        op = self._ops.around(call.tid, call.start_ns)
        memory = HostMemory.PINNED if "Pinned" in ends else HostMemory.PAGEABLE if "Pageable" in ends else None
        waited = op is not None and (call.tid, op.start_ns) in self._waited
        arguments = row.get("args", {})
        size = int(arguments.get("bytes", 0))
        return CopyCall(
            tid=call.tid,
            asked_ns=call.start_ns,
            returned_ns=call.end_ns,
            direction=direction,
            memory=memory,
            bytes=size,
            blocking=waited or _holds(direction, memory, size),
            op=_op_name(op),
            op_start_ns=None if op is None else op.start_ns,
            stream=int(arguments.get("stream", 0)),
            start_ns=span.start_ns,
            end_ns=span.end_ns,
        )

    def kernels(self, rows: list[dict[str, Any]]) -> Iterator[KernelRun]:
        found = []
        for row in rows:
            call = self._asked_by(row) if row.get("cat") in ("kernel", "gpu_memset") else None
            if call is None:
                continue
            span = _span(row, self._base)
            stream = int(row.get("args", {}).get("stream", 0))
            found.append(KernelRun(call.start_ns, span.name, stream, span.start_ns, span.end_ns))
        return iter(sorted(found, key=lambda kernel: kernel.start_ns))

    def _asked_by(self, row: dict[str, Any]) -> Span | None:
        """Return the host call behind a device row, if it was made inside the window."""
        call = self._by_correlation.get(row.get("args", {}).get("correlation", -1))
        return call if call is not None and self._inside(call.start_ns) else None

    def _inside(self, moment: int) -> bool:
        return self._window[0] <= moment <= self._window[1]


class _Intervals:
    """Properly nested intervals of each thread; answers which innermost one holds a moment."""

    def __init__(self, spans: list[Span]) -> None:
        self._spans: dict[int, list[Span]] = {}
        self._parents: dict[int, list[int]] = {}
        for span in sorted(spans, key=lambda span: (span.start_ns, -span.end_ns)):
            self._append(span)
        self._starts = {tid: [span.start_ns for span in found] for tid, found in self._spans.items()}

    def _append(self, span: Span) -> None:
        spans, parents = self._spans.setdefault(span.tid, []), self._parents.setdefault(span.tid, [])
        parent = len(spans) - 1
        while parent >= 0 and spans[parent].end_ns < span.end_ns:
            parent = parents[parent]
        spans.append(span)
        parents.append(parent)

    def around(self, tid: int, moment: int) -> Span | None:
        """Return the innermost interval of `tid` that holds `moment`."""
        spans = self._spans.get(tid, [])
        at = bisect_right(self._starts.get(tid, []), moment) - 1
        while at >= 0 and spans[at].end_ns < moment:
            at = self._parents[tid][at]
        return spans[at] if at >= 0 else None


def _holds(direction: Direction, memory: HostMemory | None, size: int) -> bool:
    """Return whether a copy call returns only after the work that was queued before it."""
    if memory is not HostMemory.PAGEABLE:
        return False
    return direction is Direction.D2H or (direction is Direction.H2D and size > STAGED_BYTES)


def _op_name(op: Span | None) -> str | None:
    return None if op is None else op.name.replace("::", ".")
