"""Calls with their lines and the records of CUPTI become waits, copies and kernels, joined by correlation id."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace

import pytest

from syncwatch.compat.cupti import CopyWay, MemoryKind
from syncwatch.model.events import Call, Direction, EventCall, HostMemory, Step, SyncKind
from syncwatch.model.runtime import STAGED_BYTES
from syncwatch.sense.cuda.assemble import Assembled, Assembly, ends_of
from syncwatch.sense.cuda.cupti import CopyRecord, EventRecord, Looks, Records, Shared, WaitRecord
from syncwatch.sense.cuda.native.library import CAPTURED
from syncwatch.sense.cuda.runtime_calls import NotedCall
from tests.helpers.fake_cupti import (
    BLOCKING_READ,
    DEVICE,
    EVENT,
    GRAPH,
    LAUNCH,
    MALLOC,
    ON_DEVICE,
    PEER,
    READ,
    STREAM,
    UPLOAD,
)

ANY_COPY = 306
"""cuMemcpyAsync, whose direction its record alone tells."""
SEEN = ("runtime_calls",)
BOTH = ("runtime_calls", "cupti")
WAYS = {Direction.H2D: CopyWay.HOST_TO_DEVICE, Direction.D2H: CopyWay.DEVICE_TO_HOST}


def call(number: int, identity: int, begin: int, end: int, *, copy: int = -1, step: int | None = 0) -> NotedCall:
    around = (step, 0, False, 5, "allowed")
    return NotedCall(number, identity, begin, end, 4 if number != STREAM else 0, around, 2, copy, -1, False)


def copied(
    identity: int, direction: Direction, size: int = 4, memory: MemoryKind = MemoryKind.PAGEABLE, called: int = -1
) -> CopyRecord:
    """Return a record; `called` is the begin of a call that was not looked up in Python, of D2D copies and graphs."""
    source, target = (memory, MemoryKind.DEVICE) if direction is Direction.H2D else (MemoryKind.DEVICE, memory)
    way = WAYS.get(direction, CopyWay.DEVICE_TO_DEVICE)
    asked = (77, ON_DEVICE, called, called + 2) if called >= 0 else (None,) * 4
    return CopyRecord(identity, 1_000, 1_010, 1, 7, size, way, source, target, *asked)


NOTHING = Records(array("q"), (), (), {}, (), Looks(), 0, 0, 0, 0)


def assembled(noted: Sequence[NotedCall], records: Records | None = NOTHING, steps: Sequence[Step] = ()) -> Assembled:
    return Assembly(noted, lambda _: "aten.item", lambda tid: tid + 1, records, steps).assembled()


def test_a_wait_has_its_line_its_time_and_what_it_waited_for() -> None:
    found = assembled([call(STREAM, 1, 10, 30)], replace(NOTHING, waits={1: WaitRecord(1, 9, None)}))

    (wait,) = found.syncs
    assert (wait.kind, wait.start_ns, wait.end_ns, wait.api) == (SyncKind.STREAM, 10, 30, "cudaStreamSynchronize")
    assert (wait.step, wait.thread, wait.stack, wait.op) == (0, 0, 2, "aten.item")
    assert (wait.device, wait.stream, wait.seen_by) == (1, 9, BOTH)
    assert (wait.within, wait.allowed, wait.pacing, wait.explicit) == (5, "allowed", False, False)


@pytest.mark.parametrize(("number", "kind"), [(DEVICE, SyncKind.DEVICE), (EVENT, SyncKind.EVENT)])
def test_waits_have_the_kind_of_their_call(number: int, kind: SyncKind) -> None:
    found = assembled([call(number, 1, 10, 30)], replace(NOTHING, waits={1: WaitRecord(None, None, None)}))

    assert [(each.kind, each.device, each.stream) for each in found.syncs] == [(kind, 0, None)]


def test_a_wait_without_a_record_keeps_line_and_time() -> None:
    found = assembled([call(STREAM, 1, 10, 30)])

    assert [(each.start_ns, each.stream, each.seen_by) for each in found.syncs] == [(10, None, SEEN)]
    assert found.joins is not None and found.joins.calls_alone == 1


def test_a_read_is_one_wait_from_its_copy_on_and_its_copy_blocks() -> None:
    noted = [call(READ, 1, 10, 18), call(STREAM, 2, 25, 40, copy=1)]
    records = replace(NOTHING, copies=(copied(1, Direction.D2H),), waits={2: WaitRecord(0, 7, None)})
    found = assembled(noted, records)

    (wait,) = found.syncs
    (copy,) = found.copies
    assert (wait.kind, wait.start_ns, wait.end_ns) == (SyncKind.STREAM, 10, 40)
    assert (copy.direction, copy.memory, copy.bytes, copy.blocking) == (Direction.D2H, HostMemory.PAGEABLE, 4, True)
    assert (copy.call, copy.start_ns, copy.end_ns) == (Call(0, "cudaMemcpyAsync", 10, 18), 1_000, 1_010)
    assert (copy.stack, copy.device, copy.stream) == (2, 1, 7)


@pytest.mark.parametrize(("copied_ns", "begin_ns"), [(12, 17), (20, 15), (25, 10), (1_000, 10)])
def test_what_syncwatch_took_to_look_counts_while_the_gpu_was_not_done_with_the_copy(
    copied_ns: int, begin_ns: int
) -> None:
    # From 18 to 25 the line is looked up.
    noted = [call(READ, 1, 10, 18), call(STREAM, 2, 25, 40, copy=1)]
    record = copied(1, Direction.D2H)._replace(start_ns=11, end_ns=copied_ns)
    found = assembled(noted, replace(NOTHING, copies=(record,), waits={2: WaitRecord(0, 7, None)}))

    assert [each.start_ns for each in found.syncs] == [begin_ns]


def test_two_copies_and_one_wait_are_one_wait_from_both_copies_on() -> None:
    noted = [call(UPLOAD, 1, 10, 13), call(READ, 2, 20, 25, copy=1), call(STREAM, 3, 30, 40, copy=2)]
    records = replace(
        NOTHING, copies=(copied(1, Direction.H2D), copied(2, Direction.D2H)), waits={3: WaitRecord(0, 7, None)}
    )
    found = assembled(noted, records)

    assert [(each.start_ns, each.end_ns) for each in found.syncs] == [(10, 40)]
    assert [each.blocking for each in found.copies] == [True, True]


def test_copies_that_nothing_waited_for_are_not_blocking() -> None:
    pinned, staged, large = (
        copied(1, Direction.D2H, memory=MemoryKind.PINNED),
        copied(2, Direction.H2D, STAGED_BYTES),
        copied(3, Direction.H2D, STAGED_BYTES + 1),
    )
    noted = [call(READ, 1, 10, 11), call(UPLOAD, 2, 20, 21), call(UPLOAD, 3, 30, 39)]
    found = assembled(noted, replace(NOTHING, copies=(pinned, staged, large)))

    assert [each.blocking for each in found.copies] == [False, False, True]
    assert [(each.kind, each.start_ns, each.end_ns) for each in found.syncs] == [(SyncKind.COPY, 30, 39)]


def test_a_read_into_pageable_memory_that_was_asked_not_to_block_is_a_wait() -> None:
    found = assembled([call(READ, 1, 10, 50)], replace(NOTHING, copies=(copied(1, Direction.D2H),)))

    (wait,) = found.syncs
    assert (wait.kind, wait.start_ns, wait.end_ns, wait.api) == (SyncKind.COPY, 10, 50, "cudaMemcpyAsync")
    assert (wait.stack, wait.device, wait.stream, wait.seen_by) == (2, 1, 7, BOTH)
    assert [each.blocking for each in found.copies] == [True]


@pytest.mark.parametrize("records", [None, NOTHING])
def test_a_copy_that_has_no_stream_to_be_queued_on_is_a_wait_also_without_a_record(records: Records | None) -> None:
    found = assembled([call(BLOCKING_READ, 1, 10, 50)], records)

    assert [(each.kind, each.api, each.seen_by) for each in found.syncs] == [(SyncKind.COPY, "cudaMemcpy", SEEN)]
    assert [(each.blocking, each.memory, each.start_ns, each.bytes) for each in found.copies] == [(True, None, None, 4)]


def test_whether_a_copy_blocked_is_not_known_without_its_record() -> None:
    found = assembled([call(READ, 1, 10, 50)])

    assert [(each.direction, each.memory, each.blocking) for each in found.copies] == [(Direction.D2H, None, None)]
    assert len(found.syncs) == 0
    assert found.joins is not None and found.joins.calls_alone == 1


def test_a_copy_whose_record_alone_tells_its_way_is_left_out_without_it() -> None:
    noted = [call(ANY_COPY, 1, 10, 50)]

    without = assembled(noted)
    having = assembled(noted, replace(NOTHING, copies=(copied(1, Direction.H2D, memory=MemoryKind.PINNED),)))

    assert len(without.copies) == 0 and without.joins is not None and without.joins.calls_alone == 1
    assert [(each.direction, each.memory) for each in having.copies] == [(Direction.H2D, HostMemory.PINNED)]


def test_a_copy_that_is_captured_copies_nothing_and_no_record_is_due() -> None:
    captured = call(UPLOAD, 1, 10, 50)._replace(bytes=CAPTURED)

    found = assembled([captured])
    relaxed = assembled([captured], replace(NOTHING, copies=(copied(1, Direction.H2D, 64),)))

    assert len(found.copies) == 0 and found.joins is not None
    assert (found.joins.calls, found.joins.calls_alone) == (0, 0)
    # On a stream beside the one that is captured.
    assert [each.bytes for each in relaxed.copies] == [64]


def test_two_records_of_one_copy_are_not_without_a_call() -> None:
    records = (copied(1, Direction.D2H, 4), copied(1, Direction.D2H, 8), copied(2, Direction.D2D, 16, called=150))
    found = assembled([call(READ, 1, 10, 18)], replace(NOTHING, copies=records))

    assert [each.bytes for each in found.copies] == [4, 16]
    assert found.joins is not None and found.joins.records_alone == 0


def test_copies_that_two_threads_make_by_turns_have_their_own_waits() -> None:
    noted = [
        call(READ, 1, 10, 12),
        call(READ, 2, 11, 13),
        call(STREAM, 3, 20, 40, copy=2),
        call(UPLOAD, 4, 41, 42),
        call(STREAM, 5, 20, 50, copy=1),
        call(STREAM, 6, 60, 70),
    ]
    records = tuple(copied(number, Direction.D2H, memory=MemoryKind.PINNED) for number in (1, 2, 4))
    found = assembled(
        noted,
        replace(
            NOTHING,
            copies=records,
            waits={3: WaitRecord(0, 7, None), 5: WaitRecord(0, 7, None), 6: WaitRecord(0, 7, None)},
        ),
    )

    assert [(each.start_ns, each.end_ns) for each in found.syncs] == [(11, 40), (10, 50), (60, 70)]
    assert [each.blocking for each in found.copies] == [True, True, False]


def test_an_allocation_is_a_kind_of_its_own_and_no_record_is_due() -> None:
    found = assembled([call(MALLOC, 1, 10, 50)])

    assert [(each.kind, each.api, each.seen_by) for each in found.syncs] == [(SyncKind.ALLOCATION, "cudaMalloc", SEEN)]
    assert found.joins is not None
    assert (found.joins.calls, found.joins.calls_alone) == (0, 0)


def test_a_copy_on_the_device_has_its_call_and_step_and_no_line() -> None:
    steps = [Step(4, True, 0, 99), Step(5, False, 100, 199)]
    found = assembled([], replace(NOTHING, copies=(copied(1, Direction.D2D, 64, called=150),), launches=1), steps)

    (copy,) = found.copies
    assert (copy.direction, copy.memory, copy.bytes, copy.blocking) == (Direction.D2D, None, 64, False)
    assert copy.call == Call(78, "cudaMemcpyAsync", 150, 152)
    assert (copy.step, copy.thread, copy.stack) == (5, 78, None)
    assert len(found.syncs) == 0


def test_a_record_of_a_copy_without_its_call_is_kept_and_counted() -> None:
    found = assembled([], replace(NOTHING, copies=(copied(1, Direction.D2H),)))

    assert [(each.call, each.step, each.blocking) for each in found.copies] == [(None, None, False)]
    assert found.joins is not None and found.joins.records_alone == 1


@pytest.mark.parametrize(
    ("way", "memory", "expected"),
    [
        (CopyWay.DEVICE_TO_HOST, MemoryKind.PINNED, (Direction.D2H, HostMemory.PINNED)),
        (CopyWay.DEVICE_TO_HOST, MemoryKind.MANAGED, (Direction.D2H, None)),
        (CopyWay.PEER_TO_PEER, MemoryKind.DEVICE, (Direction.D2D, None)),
        (4, MemoryKind.DEVICE, (Direction.D2D, None)),
        (CopyWay.DEVICE_TO_HOST, 99, (Direction.D2H, None)),
    ],
)
def test_the_ends_of_a_copy(way: int, memory: int, expected: tuple[Direction, HostMemory | None]) -> None:
    record = copied(1, Direction.D2H)._replace(way=way, target=memory)

    assert ends_of(record) == expected


def test_kernels_have_the_step_thread_and_call_of_their_launch() -> None:
    shared = (
        Shared(7, "gemm", 1, None, 77, LAUNCH),
        Shared(7, "Memset", 0, 64, 77, GRAPH),
        Shared(7, "o", 0, None, None, None),
    )
    rows = array("q", [0, 1, 500, 510, 150, 152, 1, 0, 520, 530, 50, 51, 2, -1, 540, 550, -(1 << 63), -(1 << 63)])
    steps = [Step(9, False, 100, 199), Step(8, True, 0, 99)]
    found = assembled([], replace(NOTHING, kernels=rows, shared=shared, launches=2, kernels_alone=1), steps)

    gemm, memset, orphan = found.kernels
    assert (gemm.name, gemm.device, gemm.step, gemm.start_ns, gemm.end_ns) == ("gemm", 1, 9, 500, 510)
    assert gemm.call == Call(78, "cudaLaunchKernel", 150, 152)
    assert (memset.memset_bytes, memset.step, memset.call) == (64, 8, Call(78, "cudaGraphLaunch", 50, 51))
    assert (orphan.step, orphan.call) == (None, None)


def test_in_a_plain_program_nothing_is_alone() -> None:
    noted = [call(READ, 1, 10, 18), call(STREAM, 2, 25, 40, copy=1), call(UPLOAD, 3, 50, 51), call(MALLOC, 4, 60, 61)]
    records = replace(
        NOTHING,
        copies=(copied(1, Direction.D2H), copied(3, Direction.H2D), copied(5, Direction.D2D, called=70)),
        waits={2: WaitRecord(0, 7, None)},
        kernels=array("q", [0, -1, 500, 510, 45, 46]),
        shared=(Shared(7, "gemm", 0, None, 77, LAUNCH),),
        launches=2,
    )
    joins = assembled(noted, records).joins

    assert joins is not None
    assert (joins.calls, joins.joined, joins.calls_alone, joins.records_alone) == (5, 5, 0, 0)
    assert (joins.kernels, joins.lost) == (1, 0)


def test_what_is_alone_or_lost_is_counted() -> None:
    noted = [call(READ, 1, 10, 18), call(STREAM, 2, 25, 40)]
    records = replace(
        NOTHING, copies=(copied(9, Direction.D2H),), launches=3, launches_alone=1, kernels_alone=2, lost=4
    )
    joins = assembled(noted, records).joins

    assert joins is not None
    assert (joins.calls, joins.joined, joins.calls_alone, joins.records_alone) == (5, 2, 3, 3)
    assert joins.lost == 4


def test_while_the_watch_lasts_there_are_lines_and_no_joins() -> None:
    found = assembled([call(READ, 1, 10, 18), call(STREAM, 2, 25, 40, copy=1)], None)

    assert [(each.stack, each.start_ns, each.seen_by) for each in found.syncs] == [(2, 17, SEEN)]
    assert [(each.blocking, each.start_ns) for each in found.copies] == [(True, None)]
    assert (len(found.kernels), found.joins) == (0, None)


def test_a_peer_copy_is_named_by_its_own_call() -> None:
    record = copied(1, Direction.D2D, called=5)._replace(way=CopyWay.PEER_TO_PEER, number=PEER)

    (copy,) = assembled([], replace(NOTHING, copies=(record,), launches=1)).copies
    assert copy.call is not None and copy.call.name == "cudaMemcpyPeerAsync"


def test_event_calls_have_their_thread_and_looks_stand_beside_their_calls() -> None:
    records = replace(
        NOTHING,
        copies=(copied(1, Direction.D2H),),
        waits={2: WaitRecord(0, None, 41)},
        events=(EventRecord(41, 7, 0, False, 77, 12), EventRecord(41, 9, None, True, 77, 13)),
        looks=Looks(array("q", [1, 500, 2, 600])),
    )
    found = assembled([call(READ, 1, 10, 18), call(EVENT, 2, 25, 40, copy=1)], records)

    assert found.event_calls == (EventCall(41, 7, False, 78, 12, 0), EventCall(41, 9, True, 78, 13, 0))
    (copy,), (wait,) = found.copies, found.syncs
    assert copy.call is not None
    assert (copy.call.watch_ns, wait.watch_ns, wait.event) == (500, 600, 41)


def test_without_records_nothing_is_known_of_events() -> None:
    assert assembled([call(EVENT, 1, 10, 50)], records=None).event_calls is None
