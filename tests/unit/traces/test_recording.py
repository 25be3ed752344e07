"""What counts as one wait, with operators and without; ranges, steps and stacks around it."""

from __future__ import annotations

from dataclasses import dataclass, field

from syncwatch.model.events import (
    PACING_RANGE,
    Call,
    CopyEvent,
    Direction,
    Frame,
    HostMemory,
    KernelEvent,
    RangeEvent,
    Step,
    SyncEvent,
    SyncKind,
)
from syncwatch.model.runtime import STAGED_BYTES
from syncwatch.model.session import RecordedBy
from syncwatch.traces.copy_waits import AT_ONCE_NS
from syncwatch.traces.process import Operator, TraceProcess, WaitingCall
from syncwatch.traces.recording import recording_of
from tests.helpers.fakes import frame, torch_frame


@dataclass
class Known:
    """Stacks and operators by the moment they are asked for."""

    frames: dict[int, tuple[Frame, ...]] = field(default_factory=dict)
    operators: list[tuple[int, int, str]] = field(default_factory=list)

    def frames_at(self, thread: int, moment_ns: int) -> tuple[Frame, ...]:
        return self.frames.get(moment_ns, ())

    def operator_at(self, thread: int, moment_ns: int) -> Operator | None:
        inside = [each for each in self.operators if each[0] <= moment_ns <= each[1]]
        return Operator(inside[-1][2], inside[-1][0]) if inside else None


def wait(
    start: int, end: int, *, kind: SyncKind = SyncKind.STREAM, stream: int | None = 7, thread: int = 0
) -> WaitingCall:
    return WaitingCall(Call(thread, kind.api(), start, end), kind, stream, 0)


def copy(
    start: int,
    end: int,
    *,
    name: str = "cudaMemcpyAsync",
    direction: Direction = Direction.D2H,
    memory: HostMemory | None = HostMemory.PAGEABLE,
    size: int = 8,
    stream: int = 7,
) -> CopyEvent:
    call = Call(0, name, start, end)
    return CopyEvent(None, 0, direction, memory, size, None, None, None, stream, start, end, call)


def kernel(start: int) -> KernelEvent:
    return KernelEvent(None, 7, "gemm", start + 10, start + 90, Call(0, "cudaLaunchKernel", start, start + 4))


def process(
    *,
    waits: tuple[WaitingCall, ...] = (),
    copies: tuple[CopyEvent, ...] = (),
    kernels: tuple[KernelEvent, ...] = (),
    ranges: tuple[RangeEvent, ...] = (),
    steps: tuple[Step, ...] = (),
    known: Known | None = None,
) -> TraceProcess:
    return TraceProcess(
        name="process 1",
        recorder=RecordedBy.NSYS,
        records_calls=True,
        threads=("main",),
        steps=steps,
        waits=waits,
        copies=copies,
        kernels=kernels,
        ranges=ranges,
        surroundings=known or Known(),
    )


def spans(syncs: tuple[SyncEvent, ...]) -> list[tuple[SyncKind, int | None, int | None]]:
    return [(sync.kind, sync.start_ns, sync.end_ns) for sync in syncs]


def test_a_copy_and_the_synchronization_at_once_behind_it_are_one_wait() -> None:
    recording = recording_of(process(copies=(copy(100, 500),), waits=(wait(501, 510),)))
    assert spans(recording.syncs) == [(SyncKind.STREAM, 100, 510)]
    assert [each.blocking for each in recording.copies or ()] == [True]
    assert recording.coverage.seen == 1


def test_a_pinned_copy_is_waited_for_too() -> None:
    recording = recording_of(process(copies=(copy(100, 105, memory=HostMemory.PINNED),), waits=(wait(106, 500),)))
    assert spans(recording.syncs) == [(SyncKind.STREAM, 100, 500)]
    assert [each.blocking for each in recording.copies or ()] == [True]


def test_a_synchronization_long_after_the_copy_is_a_wait_of_its_own() -> None:
    late = 500 + AT_ONCE_NS + 1
    recording = recording_of(process(copies=(copy(100, 500),), waits=(wait(late, late + 10),)))
    assert spans(recording.syncs) == [(SyncKind.COPY, 100, 500), (SyncKind.STREAM, late, late + 10)]


def test_a_synchronization_of_another_stream_is_a_wait_of_its_own() -> None:
    recording = recording_of(process(copies=(copy(100, 500),), waits=(wait(501, 510, stream=9),)))
    assert [sync.kind for sync in recording.syncs] == [SyncKind.COPY, SyncKind.STREAM]


def test_a_launch_between_copy_and_synchronization_parts_them() -> None:
    recording = recording_of(process(copies=(copy(100, 500),), kernels=(kernel(502),), waits=(wait(510, 600),)))
    assert [sync.kind for sync in recording.syncs] == [SyncKind.COPY, SyncKind.STREAM]


def test_a_copy_between_parts_them_too() -> None:
    copies = (copy(100, 500), copy(510, 520))
    recording = recording_of(process(copies=copies, waits=(wait(521, 600),)))
    assert spans(recording.syncs) == [(SyncKind.COPY, 100, 500), (SyncKind.STREAM, 510, 600)]


def test_copies_that_hold_the_host_without_a_synchronization() -> None:
    copies = (
        copy(100, 200, name="cudaMemcpy", direction=Direction.H2D),
        copy(300, 400, name="cudaMemcpy", direction=Direction.D2D, memory=None),
        copy(500, 600, direction=Direction.H2D, size=STAGED_BYTES),
        copy(700, 800, direction=Direction.H2D, size=STAGED_BYTES + 1),
        copy(900, 1000, memory=HostMemory.PINNED),
    )
    recording = recording_of(process(copies=copies))
    assert spans(recording.syncs) == [(SyncKind.COPY, 100, 200), (SyncKind.COPY, 700, 800)]
    assert [each.blocking for each in recording.copies or ()] == [True, False, False, True, False]


def test_calls_of_one_operator_belong_together_however_far_apart() -> None:
    known = Known(operators=[(90, 900_000, "aten.copy_"), (950_000, 960_000, "aten.item")])
    copies = (copy(100, 500), copy(955_000, 956_000))
    waits = (wait(800_000, 900_000), wait(957_000, 958_000))
    recording = recording_of(process(copies=copies, waits=waits, known=known))
    assert spans(recording.syncs) == [(SyncKind.STREAM, 100, 900_000), (SyncKind.STREAM, 955_000, 958_000)]
    assert [sync.op for sync in recording.syncs] == ["aten.copy_", "aten.item"]
    assert [each.op for each in recording.copies or ()] == ["aten.copy_", "aten.item"]


def test_a_copy_whose_operator_does_not_synchronize_waits_by_itself() -> None:
    known = Known(operators=[(90, 600, "aten.copy_")])
    recording = recording_of(process(copies=(copy(100, 500),), waits=(wait(601, 700),), known=known))
    assert spans(recording.syncs) == [(SyncKind.COPY, 100, 500), (SyncKind.STREAM, 601, 700)]


def test_the_drivers_wait_inside_the_runtimes_is_no_second_wait() -> None:
    waits = (
        wait(100, 500, kind=SyncKind.DEVICE),
        wait(150, 490, kind=SyncKind.DEVICE),
        wait(150, 490, thread=1),
        wait(600, 700, kind=SyncKind.ALLOCATION),
        wait(610, 690, kind=SyncKind.DEVICE),
    )
    recording = recording_of(process(waits=waits))
    assert [(sync.kind, sync.thread) for sync in recording.syncs] == [
        (SyncKind.DEVICE, 0),
        (SyncKind.STREAM, 1),
        (SyncKind.ALLOCATION, 0),
    ]
    assert recording.coverage.seen == 2


def test_a_wait_was_asked_for_where_torchs_synchronize_stands_below_the_users_line() -> None:
    asked = (torch_frame("cuda/__init__.py", "synchronize"), frame("torch.cuda.synchronize()"))
    inside = (torch_frame("nn/functional.py", "f"), frame("f(x)"), torch_frame("cuda/__init__.py", "synchronize"))
    known = Known(frames={100: asked, 200: inside, 300: ()})
    waits = tuple(wait(start, start + 50, kind=SyncKind.DEVICE) for start in (100, 200, 300))
    recording = recording_of(process(waits=waits, known=known))
    assert [sync.explicit for sync in recording.syncs] == [True, False, False]
    assert [sync.stack for sync in recording.syncs] == [0, 1, None]
    assert (recording.coverage.seen, recording.coverage.attributed) == (3, 2)
    assert any("count as not asked for" in note for note in recording.notes)


def test_steps_ranges_and_pacing() -> None:
    ranges = (
        RangeEvent(0, "step", 0, 1000),
        RangeEvent(0, "layer", 100, 300),
        RangeEvent(0, PACING_RANGE, 500, 600),
        RangeEvent(1, "other thread", 0, 1000),
    )
    waits = (wait(150, 200), wait(510, 520), wait(2000, 2100))
    recording = recording_of(process(waits=waits, ranges=ranges, steps=(Step(0, False, 0, 1000),)))
    assert [sync.step for sync in recording.syncs] == [0, 0, None]
    assert [sync.pacing for sync in recording.syncs] == [False, True, False]
    assert recording.range_stacks == (("step", "layer"), ("step", PACING_RANGE))
    assert [sync.within for sync in recording.syncs] == [0, 1, None]
    assert recording.rounds_ns == ((1000,),)
    assert recording.coverage.seen == 2


def test_a_wait_that_begins_where_pacing_ends_is_no_pacing() -> None:
    ranges = (RangeEvent(0, PACING_RANGE, 100, 200),)
    recording = recording_of(process(waits=(wait(100, 200), wait(200, 300)), ranges=ranges))
    assert [sync.pacing for sync in recording.syncs] == [True, False]
    assert recording.coverage.seen == 1


def test_steps_of_several_runs_are_said_to_be_taken_together() -> None:
    ranges = tuple(RangeEvent(0, f"syncwatch.step {number}", at, at + 5) for number, at in ((0, 0), (1, 10), (0, 20)))
    steps = tuple(Step(index, False, each.start_ns, each.end_ns) for index, each in enumerate(ranges))
    both = recording_of(process(ranges=ranges, steps=steps))
    one = recording_of(process(ranges=ranges, steps=steps[:2]))
    assert any("naive/syncwatch.step *" in note for note in both.notes)
    assert not any("Names of steps repeat" in note for note in one.notes)
