"""Makes a recording of one process of a trace, with its waits counted as on a live run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from syncwatch.model.events import LIBRARY_FILES, STEP_RANGE, CopyEvent, Frame, SyncEvent, SyncKind
from syncwatch.model.report import UNKNOWN
from syncwatch.model.session import Coverage, Environment, Recording
from syncwatch.traces.copy_waits import TraceCopy, TraceWait, waits_of
from syncwatch.traces.nesting import Nests, StepClock
from syncwatch.traces.process import TraceProcess
from syncwatch.version import __version__

_ASKING_FILES = ("torch/cuda/__init__.py", "torch/cuda/streams.py", "torch/accelerator/__init__.py")
"""Where torch defines the `synchronize` functions that a user calls to wait."""


def environment_of(gpu: str | None) -> Environment:
    """Return what another program's trace tells of the machine: the GPU's name, if even that."""
    return Environment(torch=UNKNOWN, triton=None, gpu=gpu, driver=None, python=UNKNOWN, syncwatch=__version__)


def recording_of(process: TraceProcess) -> Recording:
    """Return what `process` did, its waits counted as on a live run; see `copy_waits` for those around copies."""
    waits, copies = waits_of(process)
    builder = _Builder(process)
    syncs = tuple(builder.sync(wait) for wait in waits)
    copied = tuple(builder.copy(copy) for copy in copies)
    counted = [sync for sync in syncs if sync.kind is not SyncKind.ALLOCATION and not sync.pacing]
    attributed = sum(sync.stack is not None for sync in counted)
    return Recording(
        variant=process.name,
        steps=process.steps,
        rounds_ns=(tuple(step.end_ns - step.start_ns for step in process.steps),) if process.steps else (),
        modelled=False,
        threads=process.threads,
        frames=tuple(builder.frames),
        stacks=tuple(builder.stacks),
        syncs=syncs,
        copies=None if process.copies is None else copied,
        kernels=process.kernels,
        ranges=process.ranges,
        coverage=Coverage(
            sensors=(process.recorder.value,),
            blind_to=process.blind_to,
            seen=len(counted) if process.records_calls else None,
            attributed=attributed,
        ),
        notes=(*_notes(process, unattributed=len(counted) - attributed), *process.notes),
        range_stacks=tuple(builder.nests.names),
        used_gpu=_used_gpu(process, syncs),
    )


def _used_gpu(process: TraceProcess, syncs: Sequence[SyncEvent]) -> bool | None:
    """Return whether the trace has any work of the GPU; None where it would not say."""
    if process.kernels or process.copies or syncs:
        return True
    return None if process.kernels is None or process.copies is None else False


def _notes(process: TraceProcess, *, unattributed: int) -> Iterator[str]:
    if process.steps and _repeats(process):
        yield (
            f"Names of steps repeat, so several runs are taken together. Choose one by the range around it, as in "
            f"--step-range 'naive/{STEP_RANGE} *'."
        )
    if not process.steps:
        yield "No range marks the steps, so the whole trace is one. Name the range of a step with --step-range."
    if unattributed:
        yield "Without a Python stack it is not known which waits were asked for: they count as not asked for."


def _repeats(process: TraceProcess) -> bool:
    """Return whether two steps are the same one of ours, as in the variants and the passes of one `syncwatch run`."""
    spans = {(step.start_ns, step.end_ns) for step in process.steps}
    ours = (each for each in process.ranges if each.name.startswith(f"{STEP_RANGE} "))
    names = [each.name for each in ours if (each.start_ns, each.end_ns) in spans]
    return len(set(names)) < len(names)


class _Builder:
    """Interns stacks and nests of ranges while it makes the events."""

    def __init__(self, process: TraceProcess) -> None:
        self.nests = Nests(process.ranges)
        self.frames: dict[Frame, int] = {}
        self.stacks: dict[tuple[int, ...], int] = {}
        self._process = process
        self._clock = StepClock(process.steps)

    def sync(self, wait: TraceWait) -> SyncEvent:
        """Return the event of `wait`; the waits of a thread are to come in the order of their calls."""
        frames = self._process.surroundings.frames_at(wait.thread, wait.call_ns)
        around = self.nests.around(wait.thread, wait.call_ns)
        return SyncEvent(
            step=self._clock.at(wait.call_ns),
            thread=wait.thread,
            kind=wait.kind,
            explicit=wait.kind is not SyncKind.COPY and _was_asked_for(frames),
            op=None if wait.operator is None else wait.operator.name,
            stack=self._stack(frames),
            stream=wait.stream,
            start_ns=wait.start_ns,
            end_ns=wait.end_ns,
            pacing=wait.pacing,
            seen_by=(self._process.recorder.value,),
            api=wait.api,
            within=around,
            device=wait.device,
        )

    def copy(self, copy: TraceCopy) -> CopyEvent:
        """Return the event of `copy`, with what is known of the place that asked for it."""
        call = copy.event.call
        if call is None:
            return copy.event
        stack = self._stack(self._process.surroundings.frames_at(call.thread, call.start_ns))
        op = None if copy.operator is None else copy.operator.name
        return replace(copy.event, blocking=copy.blocking, op=op, stack=stack)

    def _stack(self, frames: tuple[Frame, ...]) -> int | None:
        if not frames:
            return None
        numbers = tuple(self.frames.setdefault(frame, len(self.frames)) for frame in frames)
        return self.stacks.setdefault(numbers, len(self.stacks))


def _was_asked_for(frames: tuple[Frame, ...]) -> bool:
    """Return whether a `synchronize` of torch stands between the wait and the innermost line outside the libraries."""
    for frame in frames:
        if not frame.file.startswith(LIBRARY_FILES):
            return False
        if frame.file in _ASKING_FILES and frame.function.rpartition(".")[2] == "synchronize":
            return True
    return False
