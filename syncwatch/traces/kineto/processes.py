"""Makes typed events of the columns of a torch.profiler trace: waits, copies, kernels and ranges of each process."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from syncwatch.model.events import Call, CopyEvent, Direction, HostMemory, KernelEvent, SyncKind
from syncwatch.model.process_name import process_name
from syncwatch.model.runtime import WAITING_ROWS, call_name, copy_of, is_copy, is_launch, wait_of
from syncwatch.model.session import RecordedBy
from syncwatch.traces.kineto.columns import CollectedRows, Host, Owners, WorkColumns
from syncwatch.traces.kineto.surroundings import KinetoSurroundings
from syncwatch.traces.nesting import StepClock, steps_of
from syncwatch.traces.process import TraceProcess, WaitingCall

_NONE = -1
_STACK_NOTE = (
    "A profiler's stack names the function that waited, and the line where that function begins, not the line of the "
    "call."
)
_OTHERS = "Record it with torch.profiler, or with nsys on a GPU by NVIDIA."
_BEGIN_CAPTURE = ("cudaStreamBeginCapture", "cuStreamBeginCapture")
_END_CAPTURE = ("cudaStreamEndCapture", "cuStreamEndCapture")
_LAST_NOTE = "The last cudaDeviceSynchronize is left out: torch.profiler itself waits when it stops."


def processes_of(
    found: CollectedRows, base_ns: int, rank: int | None, step_range: str | None
) -> tuple[TraceProcess, ...]:
    """Return each process of a trace.

    Args:
        found: its rows.
        base_ns: the epoch time of the zero of its clock.
        rank: of the process, where the file tells one.
        step_range: which ranges are steps, as `steps.steps_of` takes it.

    Raises:
        UsageError: if no range has the name that was asked for.
    """
    # A process without a call of the runtime has nothing to do with the GPU, if another one has.
    hosts = {pid: host for pid, host in found.hosts.items() if host.threads} or found.hosts
    if not hosts:
        hosts = {None: Host(found.names)}
    owners = Owners(found, list(hosts.values()))
    single = len(hosts) == 1
    return tuple(
        _Builder(found, host, base_ns, owners.of(place), _threads(found, pid, host)).process(
            _name(pid, rank if single else None), step_range
        )
        for place, (pid, host) in enumerate(hosts.items())
    )


def _name(pid: object, rank: int | None) -> str:
    if rank is not None:
        return f"rank {rank}"
    return process_name(pid)


def _threads(found: CollectedRows, pid: object, host: Host) -> tuple[str, ...]:
    return tuple(found.thread_names.get((pid, tid), f"thread {tid}") for tid in host.tids)


@dataclass(slots=True)
class _Builder:
    """One process in the making."""

    found: CollectedRows
    host: Host
    base_ns: int
    owned: dict[str, list[tuple[int, int]]]
    threads: tuple[str, ...]
    _main_thread: int = 0
    """For work of which the trace does not hold the call."""
    _calls: dict[int, Call] = field(default_factory=dict)
    """By index: a CUDA graph asks for many kernels in one call."""

    def process(self, name: str, step_range: str | None) -> TraceProcess:
        """Return the process with its events."""
        self._main_thread = _main_thread(self.host)
        ranges = tuple(
            replace(each, start_ns=each.start_ns + self.base_ns, end_ns=each.end_ns + self.base_ns)
            for each in sorted(self.host.ranges, key=lambda each: (each.start_ns, -each.end_ns))
        )
        steps = steps_of(ranges, step_range)
        clock = StepClock(steps)
        waits = sorted(self._waits(), key=lambda wait: wait.call.start_ns)
        notes: list[str] = []
        last = max(self.host.calls.starts, default=0) + self.base_ns
        if waits and _is_last(waits[-1], last) and clock.at(last) is None:
            waits.pop()
            notes += [] if steps else [_LAST_NOTE]
        copies = tuple(sorted(self._copies(clock), key=_asked_ns))
        kernels = tuple(sorted(self._kernels(clock), key=lambda kernel: kernel.start_ns))
        is_recorded = bool(kernels or copies) or not self._launches()
        return TraceProcess(
            name=name,
            recorder=RecordedBy.TORCH_PROFILER,
            records_calls=bool(self.host.threads),
            threads=self.threads or ("unknown",),
            steps=steps,
            waits=tuple(waits),
            copies=copies if is_recorded else None,
            kernels=kernels if is_recorded else None,
            ranges=ranges,
            surroundings=KinetoSurroundings(self.host, self.base_ns),
            thread_ids=tuple(tid if isinstance(tid, int) else None for tid in self.host.tids),
            notes=(*notes, *self._notes(copies, kernels, is_recorded=is_recorded)),
            blind_to=tuple(self._blind_to()),
            unwatched=tuple(self._hidden(name, copies)),
        )

    def _hidden(self, name: str, copies: Sequence[CopyEvent]) -> Iterator[str]:
        """Yield what hides waits of this process."""
        texts, numbers = self.host.names.texts, self.host.calls.names
        unnamed = sum(not texts[number].strip() for number in numbers)
        again = "Record the program again, and let the profiler write the file to its end."
        if unnamed:
            said = f"Of {len(numbers)} calls of {name} {unnamed} have no name in the trace"
            yield f"{said}, so waits among them are missing. {again}"
        if self.found.left_out:
            yield f"{self.found.left_out} rows of the trace cannot be read, so waits among them are missing. {again}"
        if self.found.halves:
            said = f"{self.found.halves} rows of the trace begin what another row ends"
            yield f"{said}, which is not how torch.profiler writes, so waits among them are missing. {_OTHERS}"
        if self.found.strange:
            said = f"{self.found.strange} calls in the trace are not of CUDA's runtime as torch.profiler records it"
            yield f"{said}, so waits among them are missing. {_OTHERS}"
        asked, unseen = self._unseen_copies()
        if unseen:
            said = f"Of {asked} calls that copy the trace does not hold what {unseen} of them copied"
            yield f"{said}, so whether they waited is not known. {again}"
        pageable = [copy for copy in copies if copy.memory is HostMemory.PAGEABLE]
        reads = sum(copy.call is None and copy.direction is Direction.D2H for copy in pageable)
        if reads:
            yield f"Of {reads} copies into pageable memory, which wait, the trace does not hold the call. {again}"

    def _unseen_copies(self) -> tuple[int, int]:
        """Return how many calls ask for copies, and of how many there is none; those of a capture copy nothing."""
        texts, numbers, starts = self.host.names.texts, self.host.calls.names, self.host.calls.starts
        counted = {number for number in set(numbers) if _is_of_copies(call_name(texts[number]))}
        made = {call for _, call in self.owned["gpu_memcpy"]}
        captures = [0] * len(self.host.tids)
        asked = unseen = 0
        calls = (index for index, number in enumerate(numbers) if number in counted)
        for index in sorted(calls, key=starts.__getitem__):
            name, thread = call_name(texts[numbers[index]]), self.host.threads[index]
            captures[thread] += name.startswith(_BEGIN_CAPTURE)
            captures[thread] -= name.startswith(_END_CAPTURE)
            if is_copy(name):
                asked += 1
                unseen += index not in made and captures[thread] <= 0
        return asked, unseen

    def _launches(self) -> bool:
        """Return whether the host asked for work."""
        return any(is_launch(self.host.names.texts[number]) for number in set(self.host.calls.names))

    def _notes(
        self, copies: Sequence[CopyEvent], kernels: Sequence[KernelEvent], *, is_recorded: bool
    ) -> Iterator[str]:
        if self.host.functions:
            yield _STACK_NOTE
        if not is_recorded:
            yield "The trace has launches and no work on a GPU, so no wait has a price. Record with CUPTI free."
        alone = sum(each.call is None for each in copies) + sum(each.call is None for each in kernels)
        if alone:
            yield f"Of {alone} pieces of work on the GPU the trace does not hold the call: they belong to no step."
        names, texts = self.found.works["gpu_memcpy"].names, self.host.names.texts
        strange = sum(copy_of(texts[names[index]]) is None for index, _ in self.owned["gpu_memcpy"])
        if strange:
            yield f"{strange} copies are neither between the host and a GPU nor on one GPU, and were left out."
        if self.found.left_out:
            yield f"{self.found.left_out} rows are not as torch.profiler writes them, and were left out."

    def _blind_to(self) -> Iterator[str]:
        if not self.host.functions:
            yield "Python lines"
            yield "whether a wait was asked for"
        if not self.host.operators:
            yield "operators of torch"
        if not self.found.works["cuda_sync"].starts:
            yield "the stream that a wait was for"

    def _waits(self) -> Iterator[WaitingCall]:
        rows = self.found.works["cuda_sync"]
        known = {call: index for index, call in self.owned["cuda_sync"] if call != _NONE}
        texts, devices = self.host.names.texts, self._devices()
        for index, number in enumerate(self.host.calls.names):
            kind = wait_of(call_name(texts[number]))
            if kind is not None:
                row = known.get(index)
                stream = None if row is None else _stream(rows, row)
                yield WaitingCall(self._call(index), kind, stream, devices if row is None else rows.devices[row])
        for index, call in self.owned["cuda_sync"]:
            kind = WAITING_ROWS.get(texts[rows.names[index]])
            start = rows.starts[index] + self.base_ns
            if call == _NONE and kind is not None:
                # Of a driver call that the profiler does not record, such as ctypes' own.
                made = Call(self._main_thread, kind.api(), start, rows.ends[index] + self.base_ns)
                yield WaitingCall(made, kind, _stream(rows, index), rows.devices[index])

    def _copies(self, clock: StepClock) -> Iterator[CopyEvent]:
        rows = self.found.works["gpu_memcpy"]
        for index, number in self.owned["gpu_memcpy"]:
            way = copy_of(self.host.names.texts[rows.names[index]])
            call = None if number == _NONE else self._call(number)
            start = rows.starts[index] + self.base_ns
            if way is not None:
                yield CopyEvent(
                    step=None if call is None else clock.at(call.start_ns),
                    thread=self._main_thread if call is None else call.thread,
                    direction=way[0],
                    memory=way[1],
                    bytes=rows.bytes[index],
                    blocking=None,
                    op=None,
                    stack=None,
                    stream=_stream(rows, index),
                    start_ns=start,
                    end_ns=rows.ends[index] + self.base_ns,
                    call=call,
                    device=rows.devices[index],
                )

    def _kernels(self, clock: StepClock) -> Iterator[KernelEvent]:
        texts = self.host.names.texts
        for category in ("kernel", "gpu_memset"):
            rows = self.found.works[category]
            for index, number in self.owned[category]:
                call = None if number == _NONE else self._call(number)
                yield KernelEvent(
                    step=None if call is None else clock.at(call.start_ns),
                    stream=max(0, rows.streams[index]),
                    name=texts[rows.names[index]],
                    start_ns=rows.starts[index] + self.base_ns,
                    end_ns=rows.ends[index] + self.base_ns,
                    call=call,
                    device=rows.devices[index],
                    memset_bytes=rows.bytes[index] if category == "gpu_memset" else None,
                )

    def _call(self, index: int) -> Call:
        call = self._calls.get(index)
        if call is None:
            call = self._calls[index] = self.host.call(index, self.base_ns)
        return call

    def _devices(self) -> int:
        """Return the one GPU that the process used, for waits of which the trace does not tell; else the first."""
        used = {
            self.found.works[category].devices[index]
            for category in ("kernel", "gpu_memcpy", "gpu_memset")
            for index, _ in self.owned[category]
        }
        return used.pop() if len(used) == 1 else 0


def _main_thread(host: Host) -> int:
    """Return the thread of the first step or range, else of the first call."""
    first: array[int] | list[int] = [each.thread for each in host.ranges[:1]] or host.threads
    return first[0] if first else 0


def _is_of_copies(name: str) -> bool:
    return is_copy(name) or name.startswith((*_BEGIN_CAPTURE, *_END_CAPTURE))


def _stream(rows: WorkColumns, index: int) -> int | None:
    stream = rows.streams[index]
    return None if stream == _NONE else stream


def _asked_ns(copy: CopyEvent) -> int:
    return copy.call.start_ns if copy.call is not None else copy.start_ns or 0


def _is_last(wait: WaitingCall, last_ns: int) -> bool:
    return wait.kind is SyncKind.DEVICE and wait.call.start_ns == last_ns
