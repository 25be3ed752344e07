"""Events kept as columns: none is lost or changed, by however many threads, and they look like tuples of events."""

from __future__ import annotations

import pickle
import threading
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from syncwatch.app.report import write_run
from syncwatch.model.codec import encode, write_json
from syncwatch.model.compact import CompactCopies, CompactKernels, CompactSyncs, work_of
from syncwatch.model.events import Call, CopyEvent, Direction, HostMemory, KernelEvent, SyncEvent, SyncKind
from syncwatch.model.session import Session
from syncwatch.pipeline import analysed, report_of
from syncwatch.sense.recorder import Recorder
from tests.helpers.fakes import gdn_session

SYNCS = (
    SyncEvent(None, 0, SyncKind.STREAM, False, "aten.item", 3, 7, 10, 20, False, ("virtual",)),
    SyncEvent(2, 1, SyncKind.DEVICE, True, None, None, None, None, None, True, ("a", "b"), "cudaX", 4, "why", 2),
    SyncEvent(2, 1, SyncKind.EVENT, True, None, None, None, -5, 0, True, ("a", "b"), "cudaX", 4, "why", 2),
)
COPIES = (
    CopyEvent(None, 0, Direction.D2H, HostMemory.PINNED, 8, True, "aten.copy", 1, 7, 1, 2, Call(0, "cudaMemcpy", 0, 3)),
    CopyEvent(0, 0, Direction.D2D, None, 0, None, None, None, None, None, None, None, 1),
    CopyEvent(0, 0, Direction.H2D, HostMemory.PAGEABLE, 1 << 40, False, None, None, None, None, None, None, 0),
)
KERNELS = (
    KernelEvent(None, 0, "gemm", 1, 2, Call(3, "cudaLaunchKernel", 0, 1)),
    KernelEvent(5, 7, "memset", 3, 3, None, 1, 64),
    KernelEvent(5, 7, "gemm", -3, 3, Call(3, "cudaGraphLaunch", -4, -3)),
)
KINDS: tuple[tuple[Any, tuple[Any, ...]], ...] = (
    (CompactSyncs, SYNCS),
    (CompactCopies, COPIES),
    (CompactKernels, KERNELS),
)


@pytest.mark.parametrize(("kind", "events"), KINDS)
def test_what_was_added_is_what_comes_out(kind: Any, events: tuple[Any, ...]) -> None:
    compact = kind()
    for event in events * 2:
        compact.append(event)
    frozen = compact.frozen()
    compact.append(events[0])

    assert (len(compact), len(frozen), frozen == events * 2, events * 2 == frozen) == (7, 6, True, True)
    assert (frozen[0], frozen[-1], frozen[1:3], next(reversed(frozen))) == (
        *(events[0], events[-1], events[1:3]),
        events[-1],
    )
    assert frozen + events == events * 3 == events + frozen
    assert frozen != events
    assert encode(frozen) == encode(events * 2)
    assert pickle.loads(pickle.dumps(frozen)) == events * 2
    assert (kind().frozen() == (), bool(kind().frozen()), events[2] in frozen) == (True, False, True)
    with pytest.raises(IndexError):
        frozen[6]


def test_the_time_line_is_the_same_without_the_events() -> None:
    for kind, events in KINDS[1:]:
        compact = kind()
        for event in events:
            compact.append(event)
        assert [*work_of(compact.frozen())] == [*work_of(events)]


def test_threads_lose_nothing() -> None:
    kernels = CompactKernels()

    def add(thread: int) -> None:
        for number in range(5000):
            kernels.add(number, thread, f"kernel{number % 7}", number, number + thread, thread, ("launch", 0, number))

    threads = [threading.Thread(target=add, args=(each,)) for each in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(kernels) == 20_000
    assert all(
        (each.end_ns - each.start_ns, each.name, each.step)
        == (each.stream, f"kernel{each.start_ns % 7}", each.start_ns)
        for each in kernels
    )
    assert {each.stream for each in kernels} == {0, 1, 2, 3}


def test_a_wait_with_its_kernel_and_copy_takes_less_than_300_bytes() -> None:
    recorder = Recorder(now_ns=lambda: 0)

    def record(count: int) -> None:
        for at in range(1 << 40, (1 << 40) + count):
            recorder.kernel("gemm", 0, at, at + 9, ("cudaLaunchKernel", at, at + 1))
            copied = ("cudaMemcpyAsync", at, at + 1)
            recorder.copy(
                Direction.D2H,
                HostMemory.PAGEABLE,
                8,
                blocking=True,
                op=None,
                stack=1,
                start_ns=at,
                end_ns=at + 1,
                called=copied,
            )
            recorder.sync(
                SyncKind.STREAM, explicit=False, op="x", sensor="virtual", stack=1, start_ns=at, end_ns=at + 2
            )

    record(10)
    tracemalloc.start()
    record(10_000)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken / 10_000 < 300


@pytest.mark.parametrize("piece", [1, 2, 3, 2000])
def test_a_file_written_piece_by_piece_is_the_same(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr("syncwatch.model.codec._PIECE", piece)
    session = gdn_session()
    strange = replace(session, target='a"b\udc80\u2028', recordings=(replace(session.recordings[0], copies=None),))
    for each in (session, strange, replace(session, recordings=())):
        write_json(each, tmp_path / "session.json")
        assert (tmp_path / "session.json").read_bytes() == encode(each)
    write_run(analysed(session), tmp_path / "run.json")
    assert Session.load(tmp_path / "run.json") == session


def test_a_recording_that_is_compact_reports_and_writes_as_one_that_is_not(tmp_path: Any) -> None:
    session = gdn_session()
    compact = replace(
        session,
        recordings=tuple(
            replace(
                each, copies=_compact(CompactCopies(), each.copies), kernels=_compact(CompactKernels(), each.kernels)
            )
            for each in session.recordings
        ),
    )
    assert compact == session
    assert encode(report_of(compact)) == encode(report_of(session))
    write_run(analysed(compact), tmp_path / "run.json")
    assert Session.load(tmp_path / "run.json") == session


def _compact(kept: Any, events: Any) -> Any:
    for each in events or ():
        kept.append(each)
    return None if events is None else kept.frozen()
