"""Makes the rows of Chrome's JSON for the events of one recording, in their order, on numbered tracks."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from syncwatch.model.events import Call, CopyEvent, Direction, HostMemory, KernelEvent, SyncEvent, SyncKind
from syncwatch.model.runtime import is_driver_call
from syncwatch.model.session import Recording
from syncwatch.traces.kineto import notation
from syncwatch.traces.kineto.notation import microseconds
from syncwatch.traces.layout import SyncLabel, extent_of, label_name

Row = dict[str, Any]


@dataclass(slots=True)
class Tracks:
    """The tracks of one variant, in the order in which they are asked for: Perfetto sorts them by their numbers.

    It takes a number that two processes share for one thread, so that `numbers` is that of the whole file.
    """

    recording: Recording
    place: int
    """Index of the recording in its session."""
    labels: str
    """What stands beside the name of the process."""
    numbers: count[int]
    pid: int = field(init=False)
    _tids: dict[tuple[str, object], int] = field(default_factory=dict)
    _rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pid = next(self.numbers)
        self._describe("process_name", self.pid, {"name": self.recording.variant, "recording": self.place})
        self._describe("process_labels", self.pid, {"labels": self.labels})
        self._describe("process_sort_index", self.pid, {"sort_index": self.place})

    def described(self) -> Iterator[Row]:
        """Yield and forget the metadata rows of the tracks that are new."""
        yield from self._rows
        self._rows.clear()

    def steps(self) -> int:
        """Return the track of the steps."""
        return self._track("steps", None, {"name": "steps"})

    def host(self, thread: int) -> int:
        """Return the track of a host thread; a number that no thread has gets a track too."""
        known = 0 <= thread < len(self.recording.threads)
        name = self.recording.threads[thread] if known else f"thread {thread}"
        return self._track("host", thread, {"name": name, "thread": thread, "recorded": known})

    def syncs(self, thread: int) -> int:
        """Return the track of the waits of a host thread."""
        known = 0 <= thread < len(self.recording.threads)
        name = self.recording.threads[thread] if known else f"thread {thread}"
        return self._track("syncs", thread, {"name": f"syncs of {name}"})

    def stream(self, device: int, stream: int | None) -> int:
        """Return the track of a stream of a GPU."""
        name = f"GPU {device} stream {'unknown' if stream is None else stream}"
        return self._track("stream", (device, stream), {"name": name})

    def bubbles(self, device: int) -> int:
        """Return the track of the idle times of a GPU that waits caused."""
        return self._track("bubbles", device, {"name": f"GPU {device} bubbles"})

    def _track(self, kind: str, which: object, described: Row) -> int:
        tid = self._tids.get((kind, which))
        if tid is None:
            tid = self._tids[kind, which] = next(self.numbers)
            self._describe("thread_name", tid, described)
            self._describe("thread_sort_index", tid, {"sort_index": tid})
        return tid

    def _describe(self, name: str, tid: int, described: Row) -> None:
        self._rows.append({"ph": "M", "name": name, "pid": self.pid, "tid": tid, "ts": 0, "args": described})


_DIRECTIONS = {Direction.H2D: "HtoD", Direction.D2H: "DtoH", Direction.D2D: "DtoD"}

Bubble = tuple[int, int]
"""When the GPU stood idle because of one wait: start and end in ns."""


@dataclass(slots=True)
class Slices:
    """The rows of one recording; its first moment is at zero, so that variants can be looked at side by side."""

    recording: Recording
    labels: Sequence[SyncLabel | None]
    bubbles: Sequence[Bubble | None]
    tracks: Tracks
    numbers: count[int]
    """Of correlations and flows, one count for the file."""
    origin_ns: int = field(init=False)
    _correlations: dict[Call, int] = field(default_factory=dict)
    _copy_calls: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    """When the copy calls of each thread began and ended, in order."""

    def __post_init__(self) -> None:
        self.origin_ns, _ = extent_of(self.recording)
        calls = (copy.call for copy in self.recording.copies or () if copy.call is not None)
        for call in sorted(calls, key=lambda call: (call.start_ns, call.end_ns)):
            self._copy_calls[call.thread].append((call.start_ns, call.end_ns))

    def rows(self) -> Iterator[Row]:
        """Yield every row; a track is described before its first slice, a call stands before the work it asked for."""
        for row in self._slices():
            yield from self.tracks.described()
            yield row
        yield from self.tracks.described()

    def _slices(self) -> Iterator[Row]:
        self._order_tracks()
        for step in self.recording.steps:
            marking = _known(before_ns=step.before_ns or None, after_ns=step.after_ns or None)
            about = {"step": step.index, "warmup": step.warmup} | marking
            name = f"step {step.index} (warm-up)" if step.warmup else f"step {step.index}"
            yield self._slice(notation.STEP, name, self.tracks.steps(), step.start_ns, step.end_ns, about)
        for each in self.recording.ranges:
            yield self._slice(notation.RANGE, each.name, self.tracks.host(each.thread), each.start_ns, each.end_ns, {})
        for kernel in self.recording.kernels or ():
            yield from self._kernel(kernel)
        for copy in self.recording.copies or ():
            yield from self._copy(copy)
        for number, (sync, label) in enumerate(zip(self.recording.syncs, self.labels, strict=True)):
            yield from self._sync(number, sync, label)
        yield from self._bubbles()

    def _order_tracks(self) -> None:
        """Put the steps first, the waits of a thread below it, then the streams; bubbles come last by themselves."""
        if self.recording.steps:
            self.tracks.steps()
        timed = (each for each in self.recording.syncs if each.start_ns is not None and each.end_ns is not None)
        waiting = {sync.thread for sync in timed}
        for thread in range(len(self.recording.threads)):
            self.tracks.host(thread)
            if thread in waiting:
                self.tracks.syncs(thread)
        streams = {(kernel.device, kernel.stream) for kernel in self.recording.kernels or ()}
        for device, stream in sorted(streams):
            self.tracks.stream(device, stream)

    def _slice(self, category: str, name: str, tid: int, start_ns: int, end_ns: int, about: Row) -> Row:
        return {
            "ph": "X",
            "cat": category,
            "name": name,
            "pid": self.tracks.pid,
            "tid": tid,
            "ts": microseconds(start_ns - self.origin_ns),
            "dur": microseconds(end_ns - start_ns),
            "args": about,
        }

    def _call(self, call: Call | None) -> Iterator[Row]:
        """Yield the row of a call that has none yet: a CUDA graph asks for many kernels in one."""
        if call is not None and call not in self._correlations:
            number = self._correlations[call] = next(self.numbers)
            about = {"correlation": number} | _known(watch_ns=call.watch_ns or None)
            tid = self.tracks.host(call.thread)
            yield self._slice(_category(call.name), call.name, tid, call.start_ns, call.end_ns, about)

    def _flow(self, call: Call | None, tid: int, start_ns: int) -> Iterator[Row]:
        if call is not None:
            flow = {"cat": notation.FLOW, "name": notation.FLOW, "id": next(self.numbers), "pid": self.tracks.pid}
            asked = microseconds(call.start_ns - self.origin_ns)
            yield {"ph": "s", **flow, "tid": self.tracks.host(call.thread), "ts": asked}
            yield {"ph": "f", **flow, "tid": tid, "ts": microseconds(start_ns - self.origin_ns), "bp": "e"}

    def _kernel(self, kernel: KernelEvent) -> Iterator[Row]:
        yield from self._call(kernel.call)
        about = self._work(kernel) | _known(bytes=kernel.memset_bytes)
        tid = self.tracks.stream(kernel.device, kernel.stream)
        category = notation.KERNEL if kernel.memset_bytes is None else notation.MEMSET
        yield self._slice(category, kernel.name, tid, kernel.start_ns, kernel.end_ns, about)
        yield from self._flow(kernel.call, tid, kernel.start_ns)

    def _copy(self, copy: CopyEvent) -> Iterator[Row]:
        if copy.start_ns is None or copy.end_ns is None:
            return
        yield from self._call(copy.call)
        about = self._work(copy) | _known(
            thread=copy.thread,
            direction=copy.direction.value,
            memory=None if copy.memory is None else copy.memory.value,
            bytes=copy.bytes,
            blocking=copy.blocking,
            op=copy.op,
            stack=copy.stack,
        )
        tid = self.tracks.stream(copy.device, copy.stream)
        yield self._slice(notation.COPY, _copy_name(copy), tid, copy.start_ns, copy.end_ns, about)
        yield from self._flow(copy.call, tid, copy.start_ns)

    def _work(self, work: KernelEvent | CopyEvent) -> Row:
        correlation = None if work.call is None else self._correlations[work.call]
        return _known(device=work.device, stream=work.stream, correlation=correlation, step=work.step)

    def _sync(self, number: int, sync: SyncEvent, label: SyncLabel | None) -> Iterator[Row]:
        if sync.start_ns is None or sync.end_ns is None:
            return
        name = label_name(label)
        about = ({} if label is None else {"title": label.title, "function": label.function}) | _known(
            op=sync.op,
            api=sync.api,
            explicit=sync.explicit,
            kind=sync.kind.value,
            step=sync.step,
            thread=sync.thread,
            device=sync.device,
            stream=sync.stream,
            stack=sync.stack,
            within=sync.within,
            allowed=sync.allowed,
            pacing=sync.pacing,
            seen_by=sync.seen_by,
            event=sync.event,
            watch_ns=sync.watch_ns or None,
        )
        yield self._slice(notation.SYNC, name, self.tracks.syncs(sync.thread), sync.start_ns, sync.end_ns, about)
        if sync.kind is not SyncKind.COPY:
            # The host thread shows the call too; no correlation tells it from the calls behind work.
            api, host = sync.api or sync.kind.api(), self.tracks.host(sync.thread)
            begin = self._called_ns(sync.thread, sync.start_ns, sync.end_ns)
            yield self._slice(_category(api), api, host, begin, sync.end_ns, {"sync": number})

    def _called_ns(self, thread: int, start_ns: int, end_ns: int) -> int:
        """Return when the call of a wait began: a wait begins with the copy call of its operator, if it had one."""
        calls = self._copy_calls.get(thread, [])
        before = bisect_left(calls, (end_ns,)) - 1
        return min(calls[before][1], end_ns) if before >= 0 and calls[before][0] >= start_ns else start_ns

    def _bubbles(self) -> Iterator[Row]:
        for number, (sync, bubble) in enumerate(zip(self.recording.syncs, self.bubbles, strict=True)):
            if bubble is not None and bubble[0] < bubble[1]:
                name = f"bubble after {label_name(self.labels[number])}"
                yield self._slice(notation.BUBBLE, name, self.tracks.bubbles(sync.device), *bubble, {"sync": number})


def _known(**values: Any) -> Row:
    """Return what is known: Perfetto would show the rest as `null`."""
    return {name: value for name, value in values.items() if value is not None}


def _category(api: str) -> str:
    return notation.DRIVER_CALL if is_driver_call(api) else notation.CALL


def _copy_name(copy: CopyEvent) -> str:
    host = {HostMemory.PAGEABLE: "Pageable", HostMemory.PINNED: "Pinned", None: "Unknown"}[copy.memory]
    source = host if copy.direction is Direction.H2D else "Device"
    target = host if copy.direction is Direction.D2H else "Device"
    return f"Memcpy {_DIRECTIONS[copy.direction]} ({source} -> {target})"
