"""One watch by CUPTI gives lines and times of one run. A fake stands for CUPTI."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from syncwatch.compat.torch_cuda import PREPARE_PROFILER
from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.sense import active
from syncwatch.sense.cuda.hooks import BLIND_TO
from syncwatch.sense.scopes.ranges import step
from tests.helpers.cuda_watch import codes, torch_warns, watching
from tests.helpers.fake_cupti import (
    DEVICE,
    LAUNCH,
    MALLOC,
    READ,
    STREAM,
    UPLOAD,
    FakeCupti,
    fake_debug_mode,
    program,
)


@pytest.fixture(autouse=True)
def modes(cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sync debug modes that were set, 0 first."""
    return fake_debug_mode(monkeypatch)


def test_a_plain_run_has_lines_and_times_and_nothing_alone(cupti: FakeCupti) -> None:
    with watching() as run:
        for number in (10, 20):
            read = program((LAUNCH, number), (READ, number + 1, 4), (STREAM, number + 2))
            with step():
                cupti.play(read)
                cupti.kernel(number, name="_Z4gemmv")
                cupti.read(number + 1, 4)
                cupti.waited(number + 2)
                cupti.deliver()
    recording = run.recording("plain")

    assert codes(recording) == ["cupti.play(read)"] * 2
    assert [(each.step, each.kind, each.device, each.stream) for each in recording.syncs] == [
        (number, SyncKind.STREAM, 3, 7) for number in (0, 1)
    ]
    assert recording.copies is not None and recording.kernels is not None
    assert [(each.direction, each.memory, each.blocking, each.step) for each in recording.copies] == [
        (Direction.D2H, HostMemory.PAGEABLE, True, number) for number in (0, 1)
    ]
    assert [(each.name, each.step) for each in recording.kernels] == [("gemm()", 0), ("gemm()", 1)]
    joins = recording.coverage.joins
    assert joins is not None
    assert (joins.calls, joins.joined, joins.calls_alone, joins.records_alone, joins.lost) == (6, 6, 0, 0, 0)
    assert (recording.notes, recording.used_gpu) == ((), True)
    assert recording.coverage.sensors == ("runtime_calls", "debug_mode", "cupti")
    assert (recording.coverage.blind_to, recording.coverage.seen, recording.coverage.attributed) == ((), 2, 2)


def test_allocations_are_not_counted_among_the_synchronizations(cupti: FakeCupti) -> None:
    with watching() as run:
        cupti.play(program((MALLOC, 1), (DEVICE, 2)))
    recording = run.recording("one")

    assert [each.kind for each in recording.syncs] == [SyncKind.ALLOCATION, SyncKind.DEVICE]
    assert (recording.coverage.seen, recording.coverage.attributed) == (1, 1)


def test_a_wait_that_torch_warns_of_and_the_driver_does_not_show_is_unseen(cupti: FakeCupti) -> None:
    with watching() as run:
        torch_warns()
        torch_warns()
        cupti.play(program((STREAM, 1)))
    coverage = run.recording("one").coverage

    assert (coverage.warned, coverage.warned_unseen) == (2, 2)


class _Waits(TorchDispatchMode):
    """Plays a wait inside each operator."""

    def __init__(self, cupti: FakeCupti) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cupti = cupti

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._cupti.play(program((STREAM, 1)))
        return func(*args, **(kwargs or {}))


def test_a_wait_has_the_operator_that_made_the_call(cupti: FakeCupti) -> None:
    values = torch.ones(3)
    with watching() as run:
        for _ in range(2):
            with _Waits(cupti):
                values.nonzero()
                values.index_select(0, torch.empty(0, dtype=torch.int64))
        cupti.play(program((STREAM, 2)))

    operators = [each.op for each in run.recording("one").syncs]
    assert [each for each in operators[:-1] if each != "aten.empty"] == ["aten.nonzero", "aten.index_select"] * 2
    assert operators[-1] is None


def test_after_the_watch_nothing_stays_on(cupti: FakeCupti, modes: list[int]) -> None:
    filters, prepare = warnings.filters, PREPARE_PROFILER.get()
    with watching() as run:
        during = (cupti.is_subscribed, active.subscribed(), modes[-1], cupti.records_asked)
    cupti.play(program((STREAM, 1)))

    assert during == (True, True, 1, 6)
    assert (cupti.is_subscribed, active.subscribed(), modes[-1], cupti.records_asked) == (False, False, 0, 0)
    assert warnings.filters is filters and PREPARE_PROFILER.get() is prepare
    assert len(run.recording("one").syncs) == 0


def test_an_error_of_the_program_ends_the_watch_too(cupti: FakeCupti, modes: list[int]) -> None:
    with pytest.raises(ValueError, match="the program's"), watching() as run:
        cupti.play(program((STREAM, 1)))
        raise ValueError("the program's")

    assert (cupti.is_subscribed, modes[-1]) == (False, 0)
    assert len(run.recording("one").syncs) == 1


def test_a_snapshot_while_it_runs_has_lines_and_no_times_of_the_gpu(cupti: FakeCupti) -> None:
    with watching() as run:
        cupti.play(program((LAUNCH, 1), (READ, 2, 4), (STREAM, 3)))
        cupti.kernel(1)
        cupti.deliver()
        early = run.recording("one")
        cupti.read(2, 4)
        cupti.waited(3)
    late = run.recording("one")

    assert (len(early.syncs), early.kernels, early.coverage.joins) == (1, None, None)
    assert codes(early) == codes(late) != [None]
    assert early.copies is not None and [each.start_ns for each in early.copies] == [None]
    assert early.coverage.blind_to == BLIND_TO[2:]
    assert late.kernels is not None and len(late.kernels) == 1


def test_without_times_there_are_lines_and_nothing_of_the_gpu(cupti: FakeCupti) -> None:
    with watching(times=False) as run:
        cupti.play(program((LAUNCH, 1), (UPLOAD, 2), (STREAM, 3)))
        asked = cupti.records_asked
    recording = run.recording("one")

    assert (asked, recording.kernels, recording.coverage.joins) == (0, None, None)
    assert len(recording.syncs) == 1
    assert recording.coverage.sensors == ("runtime_calls", "debug_mode")
    assert recording.coverage.blind_to == BLIND_TO[2:]


def test_nothing_begins_before_the_program_initialises_cuda(cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch) -> None:
    queued: list[Callable[[], None]] = []
    monkeypatch.setattr(torch.cuda, "_lazy_call", queued.append)
    with watching() as run:
        before = cupti.is_subscribed
        queued[0]()
        after = cupti.is_subscribed
        cupti.play(program((STREAM, 1)))
    with watching() as unused:
        pass
    queued[-1]()

    assert (before, after, cupti.is_subscribed) == (False, True, False)
    assert len(run.recording("one").syncs) == 1
    recording = unused.recording("none")
    assert (recording.copies, recording.kernels, recording.used_gpu) == (None, None, False)
    assert (recording.coverage.warned, recording.coverage.joins) == (None, None)


def test_lost_records_are_a_note(cupti: FakeCupti) -> None:
    with watching() as run:
        cupti.drop(12)
    recording = run.recording("one")

    assert recording.notes == ("CUPTI lost 12 records: work and waits among them are missing.",)
    assert recording.coverage.joins is not None and recording.coverage.joins.lost == 12


def test_a_record_or_a_call_that_is_missing_is_counted(cupti: FakeCupti) -> None:
    with watching() as run:
        cupti.play(program((LAUNCH, 1), (UPLOAD, 2), (STREAM, 3)))
        cupti.kernel(4)
        cupti.kernel(5)
    joins = run.recording("one").coverage.joins

    assert joins is not None
    assert (joins.calls, joins.joined, joins.calls_alone, joins.records_alone) == (3, 0, 3, 2)


def test_the_clock_of_cupti_is_brought_to_that_of_the_lines(cupti: FakeCupti) -> None:
    cupti.run_ahead(3_600_000_000_000)
    before = time.time_ns()
    with watching() as run:
        cupti.play(program((LAUNCH, 1)))
        cupti.kernel(1)
    recording = run.recording("one")

    assert recording.kernels is not None
    (kernel,) = recording.kernels
    assert kernel.call is not None
    assert before - 1_000_000_000 < kernel.start_ns < time.time_ns() + 1_000_000_000
    assert before < kernel.call.start_ns < time.time_ns()


def test_threads_are_those_that_ran_python_and_those_that_did_not(cupti: FakeCupti) -> None:
    with watching() as run:
        cupti.play(program((LAUNCH, 1)))
        cupti.play(program((STREAM, 2)))
        cupti.play_elsewhere(program((LAUNCH, 3)))
        cupti.kernel(1)
        cupti.kernel(3)
    recording = run.recording("one")

    assert recording.kernels is not None
    first, second = (each.call for each in recording.kernels)
    assert first is not None and second is not None
    assert recording.threads[first.thread] == recording.threads[recording.syncs[0].thread] == "MainThread"
    assert first.thread != second.thread
