"""Reads what torch's profiler wrote of the runtime, a Chrome trace, into a `RuntimeTrace`."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import msgspec

from syncwatch.errors import NotMeasuredError
from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.model.names import PACING_RANGE, STEP_RANGE, WINDOW_RANGE
from syncwatch.model.runtime import WAITING_ROWS, copy_of, holds, wait_of
from syncwatch.sense.intervals import Intervals
from syncwatch.sense.runtime_trace import CopyCall, KernelRun, RuntimeTrace, Span, SyncCall


class _Arguments(msgspec.Struct, gc=False):
    correlation: Any = None
    stream: Any = None
    device: Any = None
    bytes: Any = None
    name: Any = None


class _Row(msgspec.Struct, gc=False):
    """One row, with those of its fields that are read: a trace of 60,000 operators has 300,000 rows."""

    ph: str = ""
    cat: str = ""
    name: str = ""
    ts: float | None = None
    """Microseconds after `baseTimeNanoseconds`."""
    dur: float = 0.0
    tid: int | str = -1
    args: _Arguments = msgspec.field(default_factory=_Arguments)


class _Document(msgspec.Struct, gc=False):
    traceEvents: list[_Row]  # noqa: N815
    baseTimeNanoseconds: int = 0  # noqa: N815


def read_trace(raw: bytes) -> RuntimeTrace:
    """Read the Chrome trace that torch's profiler wrote.

    Raises:
        NotMeasuredError: if the trace holds no window, that is no profile of ours.
    """
    document = _decode(raw)
    base = document.baseTimeNanoseconds
    rows = [row for row in document.traceEvents if row.ph == "X" and row.ts is not None]
    annotations = [_span(row, base) for row in rows if row.cat == "user_annotation"]
    windows = sorted((span for span in annotations if span.name == WINDOW_RANGE), key=lambda span: span.start_ns)
    if not windows:
        raise NotMeasuredError("The profiler recorded nothing of the run. Run again without another profiler.")
    reader = _Reader(rows, base, annotations, windows[-1].tid, (windows[0].start_ns, windows[-1].end_ns))
    steps = (span for span in annotations if span.name.startswith(f"{STEP_RANGE} "))
    return RuntimeTrace(
        syncs=reader.syncs,
        copies=reader.copies,
        kernels=tuple(reader.kernels(rows)),
        steps=tuple(sorted(steps, key=lambda span: span.start_ns)),
        thread_names=dict(_thread_names(document.traceEvents)),
        window=(windows[0].start_ns, windows[-1].end_ns),
    )


def _decode(raw: bytes) -> _Document:
    try:
        return msgspec.json.decode(raw, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # The profiler writes names as they come, in whatever encoding, and NaN.
        loaded = json.loads(raw.decode("utf-8", errors="replace"))
        return msgspec.convert(loaded, type=_Document, strict=False)


def _thread_names(rows: list[_Row]) -> Iterator[tuple[int, str]]:
    for row in rows:
        if row.ph == "M" and row.name == "thread_name" and isinstance(row.tid, int):
            yield row.tid, str(row.args.name or "")


def _span(row: _Row, base: int) -> Span:
    start = base + round((row.ts or 0.0) * 1000)
    return Span(row.tid if isinstance(row.tid, int) else -1, row.name, start, start + round(row.dur * 1000))


def _correlation(row: _Row) -> int | None:
    found = row.args.correlation
    return found if isinstance(found, int) else None


class _Reader:
    """The runtime calls of every thread, with the operator around each."""

    def __init__(
        self, rows: list[_Row], base: int, annotations: list[Span], main_tid: int, window: tuple[int, int]
    ) -> None:
        self._base = base
        self._window = window
        self._main_tid = main_tid
        self._pacing = Intervals(span for span in annotations if span.name == PACING_RANGE)
        self._calls: list[tuple[Span, int | None]] = []
        self._by_correlation: dict[int, Span] = {}
        for row in rows:
            if row.cat in ("cuda_runtime", "cuda_driver"):
                self._note_call(_span(row, base), _correlation(row))
        self._calls.sort(key=lambda call: call[0].start_ns)
        self._waits = {_correlation(row): row for row in rows if row.cat == "cuda_sync"}
        self._ops = Intervals(self._operators_asked_for(rows))
        calls = (*self._waiting_calls(), *self._waits_without_call())
        self._waited = {
            (row.call.tid, row.op_start_ns) for row in calls if row.op_start_ns is not None and _is_wait(row)
        }
        self.copies = tuple(self._copies(rows))
        held = (self._held(copy) for copy in self.copies if copy.blocking and not self._is_waited_for(copy))
        rows_by_time = sorted((*calls, *held), key=lambda row: row.call.start_ns)
        self.syncs = tuple(self._with_copy_calls(rows_by_time))

    def _operators_asked_for(self, rows: list[_Row]) -> Iterator[Span]:
        """Yield the operators around a wait or a copy, which are few: most launch kernels, and nobody asks for them."""
        moments: dict[int, list[int]] = defaultdict(list)
        copied = {_correlation(row) for row in rows if row.cat == "gpu_memcpy"}
        for call, correlation in self._calls:
            if wait_of(call.name) is not None or (correlation is not None and correlation in copied):
                moments[call.tid].append(call.start_ns)
        moments[self._main_tid] += (_span(row, self._base).start_ns for row in self._waits.values())
        # Microseconds, as the rows have them; one to spare for what rounding takes.
        sought = {tid: sorted((moment - self._base) / 1000 for moment in found) for tid, found in moments.items()}
        for row in rows:
            if row.cat == "cpu_op" and isinstance(row.tid, int) and row.ts is not None:
                known = sought.get(row.tid, [])
                at = bisect_left(known, row.ts - 1)
                if at < len(known) and known[at] <= row.ts + row.dur + 1:
                    yield _span(row, self._base)

    def _note_call(self, span: Span, correlation: int | None) -> None:
        self._calls.append((span, correlation))
        if correlation is not None:
            self._by_correlation[correlation] = span

    def _sync(self, call: Span, kind: SyncKind, row: _Row | None) -> SyncCall:
        op = self._ops.around(call.tid, call.start_ns)
        pacing = self._pacing.around(call.tid, call.start_ns) is not None
        start = None if op is None else op.start_ns
        stream = _waited_stream(row)
        return SyncCall(call, kind, stream, _op_name(op), start, pacing, call.start_ns, _device(row))

    def _waiting_calls(self) -> Iterator[SyncCall]:
        for span, correlation in self._calls:
            kind = wait_of(span.name)
            if kind is not None and self._inside(span.start_ns):
                yield self._sync(span, kind, self._waits.get(correlation))

    def _waits_without_call(self) -> Iterator[SyncCall]:
        """Yield what waited by a driver call that the profiler does not record, such as ctypes' own."""
        for correlation, row in self._waits.items():
            kind, span = WAITING_ROWS.get(row.name), _span(row, self._base)
            if kind is not None and correlation not in self._by_correlation and self._inside(span.start_ns):
                call = Span(self._main_tid, kind.api(), span.start_ns, span.end_ns)
                yield self._sync(call, kind, row)

    def _held(self, copy: CopyCall) -> SyncCall:
        """Return the wait inside a copy call that no synchronization call follows."""
        pacing = self._pacing.around(copy.call.tid, copy.call.start_ns) is not None
        call, start = copy.call, copy.op_start_ns
        return SyncCall(call, SyncKind.COPY, copy.stream, copy.op, start, pacing, call.start_ns, copy.device)

    def _with_copy_calls(self, rows: Iterable[SyncCall]) -> Iterator[SyncCall]:
        """Let a wait begin with the copy call of the same operator: a pageable copy holds the host before it."""
        copies: dict[tuple[int, int | None], list[int]] = defaultdict(list)
        for copy in reversed(self.copies):
            copies[copy.call.tid, copy.op_start_ns].append(copy.call.start_ns)
        for row in rows:
            begun = copies.get((row.call.tid, row.op_start_ns), []) if row.op_start_ns is not None else []
            first = row.start_ns
            while begun and begun[-1] < row.call.start_ns:
                first = min(first, begun.pop())
            yield replace(row, start_ns=first) if _is_wait(row) else row

    def _is_waited_for(self, copy: CopyCall) -> bool:
        return copy.op_start_ns is not None and (copy.call.tid, copy.op_start_ns) in self._waited

    def _copies(self, rows: list[_Row]) -> Iterator[CopyCall]:
        found = []
        for row in rows:
            call = self._asked_by(row) if row.cat == "gpu_memcpy" else None
            known = copy_of(row.name) if call is not None else None
            if call is not None and known is not None:
                found.append(self._copy(row, call, *known))
        return iter(sorted(found, key=lambda copy: copy.call.start_ns))

    def _copy(self, row: _Row, call: Span, direction: Direction, memory: HostMemory | None) -> CopyCall:
        span = _span(row, self._base)
        op = self._ops.around(call.tid, call.start_ns)
        waited = op is not None and (call.tid, op.start_ns) in self._waited
        size = _whole(row.args.bytes)
        return CopyCall(
            call=call,
            direction=direction,
            memory=memory,
            bytes=size,
            blocking=waited or holds(call.name, direction, memory, size),
            op=_op_name(op),
            op_start_ns=None if op is None else op.start_ns,
            stream=_whole(row.args.stream),
            start_ns=span.start_ns,
            end_ns=span.end_ns,
            device=_device(row),
        )

    def kernels(self, rows: list[_Row]) -> Iterator[KernelRun]:
        found = []
        for row in rows:
            call = self._asked_by(row) if row.cat in ("kernel", "gpu_memset") else None
            if call is not None:
                span = _span(row, self._base)
                stream = _whole(row.args.stream)
                size = _whole(row.args.bytes) if row.cat == "gpu_memset" else None
                found.append(KernelRun(call, span.name, stream, span.start_ns, span.end_ns, _device(row), size))
        return iter(sorted(found, key=lambda kernel: kernel.start_ns))

    def _asked_by(self, row: _Row) -> Span | None:
        """Return the host call behind a device row, if it was made inside the window."""
        call = self._by_correlation.get(_correlation(row) or -1)
        return call if call is not None and self._inside(call.start_ns) else None

    def _inside(self, moment: int) -> bool:
        return self._window[0] <= moment <= self._window[1]


def _is_wait(row: SyncCall) -> bool:
    return row.kind is not SyncKind.ALLOCATION


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _waited_stream(row: _Row | None) -> int | None:
    stream = None if row is None else row.args.stream
    return stream if isinstance(stream, int) and stream >= 0 else None


def _device(row: _Row | None) -> int:
    device = None if row is None else row.args.device
    return device if isinstance(device, int) and device >= 0 else 0


def _op_name(op: Span | None) -> str | None:
    return None if op is None else op.name.replace("::", ".")
