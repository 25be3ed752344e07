"""What the GPU did is joined to the calls that asked for it, whichever comes first. A fake stands for CUPTI."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from syncwatch.compat.cupti import CopyWay, MemoryKind
from syncwatch.sense.cuda.cupti import Records
from syncwatch.sense.cuda.native.library import CAPTURED
from tests.helpers import fake_cupti
from tests.helpers.fake_cupti import STREAM, FakeCupti, Watch, program


def launches(found: Records) -> list[tuple[str, int | None]]:
    """Return each kernel in order of time, with the callback id of its launch."""
    shared = [found.shared[place] for place in found.kernels[0::6]]
    return [(each.name, each.number) for each in shared]


@pytest.mark.parametrize("early", [True, False], ids=["record first", "call first"])
def test_a_kernel_has_its_launch_whichever_comes_first(cupti: FakeCupti, early: bool) -> None:
    watch = Watch()
    if early:
        cupti.kernel(5, name="_Z4gemmv")
        cupti.deliver()
    cupti.play(program((fake_cupti.LAUNCH, 5)))
    if not early:
        cupti.deliver()
        cupti.kernel(5, name="_Z4gemmv")
    found = watch.end()

    ((place, step, start, end, called, returned),) = (found.kernels,)
    assert (found.shared[place].name, found.shared[place].number) == ("gemm()", fake_cupti.LAUNCH)
    assert (step, end - start, called < returned) == (-1, 10, True)
    assert (found.kernels_alone, found.launches_alone, found.launches, found.lost) == (0, 0, 1, 0)


def test_kernels_are_in_order_of_time_over_buffers(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.play(program(*((fake_cupti.LAUNCH, number) for number in (1, 2, 3))))
    now = cupti.now()
    for number in (3, 1, 2):
        cupti.kernel(number, name=f"k{number}", start=now + number)
        cupti.deliver()
    found = watch.end()

    assert [name for name, _ in launches(found)] == ["k1", "k2", "k3"]
    assert list(found.kernels[2::6]) == [now + 1, now + 2, now + 3]


def test_many_records_in_many_buffers_all_have_their_launch(cupti: FakeCupti) -> None:
    count = 60_000  # more than one of the pieces in which they are kept
    watch = Watch()
    for first in range(1, count + 1, 10_000):
        numbers = range(first, first + 10_000)
        cupti.play(program(*((fake_cupti.LAUNCH, number) for number in numbers)))
        for number in numbers:
            cupti.kernel(number, start=cupti.now() + count - number)
        cupti.deliver()
    found = watch.end()

    assert (len(found.kernels) // 6, found.kernels_alone, found.launches_alone) == (count, 0, 0)
    assert list(found.kernels[2::6]) == sorted(found.kernels[2::6])
    assert len(found.shared) == 1


def test_all_kernels_of_a_graph_have_the_launch_of_the_graph(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.kernel(9, name="first")
    cupti.deliver()
    cupti.play(program((fake_cupti.GRAPH, 9)))
    cupti.kernel(9, name="second")
    cupti.memset(9, 64)
    cupti.deliver()
    cupti.kernel(9, name="last")
    found = watch.end()

    assert sorted(launches(found)) == [(name, fake_cupti.GRAPH) for name in ("Memset", "first", "last", "second")]
    assert (found.kernels_alone, found.launches_alone, found.launches) == (0, 0, 1)


def test_all_copies_of_a_graph_have_the_launch_of_the_graph(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.play(program((fake_cupti.GRAPH, 9)))
    for size in (4, 8):
        cupti.upload(9, size, pinned=True)
    found = watch.end()

    assert [(copy.bytes, copy.number) for copy in found.copies] == [(4, fake_cupti.GRAPH), (8, fake_cupti.GRAPH)]


def test_what_is_captured_is_no_launch(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.play(
        program(
            (fake_cupti.BEGIN_CAPTURE, 1),
            (fake_cupti.LAUNCH, 2),
            (fake_cupti.MEMSET, 3),
            (fake_cupti.END_CAPTURE, 4),
            (fake_cupti.LAUNCH, 5),
        )
    )
    cupti.kernel(5)
    found = watch.end()

    assert (found.launches, found.launches_alone, found.kernels_alone) == (1, 0, 0)
    assert watch.told == []


def test_a_copy_that_is_captured_is_told_as_one(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.play(
        program(
            (fake_cupti.BEGIN_CAPTURE, 1),
            (fake_cupti.UPLOAD, 2, 64),
            (fake_cupti.END_CAPTURE, 3),
            (fake_cupti.UPLOAD, 4, 64),
        )
    )
    watch.end()

    assert [(identity, size) for _, identity, _, _, size in watch.told] == [(2, CAPTURED), (4, 64)]


def test_a_capture_that_outlives_the_watch_takes_nothing_from_the_next(cupti: FakeCupti) -> None:
    first = Watch()
    cupti.play(program((fake_cupti.BEGIN_CAPTURE, 1), (fake_cupti.LAUNCH, 2)))
    first.end()
    second = Watch()
    cupti.play(program((fake_cupti.LAUNCH, 3)))
    cupti.kernel(3)
    found = second.end()

    assert (found.launches, found.launches_alone, found.kernels_alone) == (1, 0, 0)


def test_another_thread_may_launch_while_one_captures(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.play(program((fake_cupti.BEGIN_CAPTURE, 1)))
    cupti.play_elsewhere(program((fake_cupti.LAUNCH, 2)))
    cupti.play(program((fake_cupti.END_CAPTURE, 3)))

    assert watch.end().launches == 1


def test_threads_may_launch_while_records_are_handed_over(cupti: FakeCupti) -> None:
    count, threads = 2_000, 4
    watch = Watch()

    def launch(first: int) -> None:
        for number in range(first, first + count, 100):
            cupti.play(program(*((fake_cupti.LAUNCH, each) for each in range(number, number + 100))))

    started = [threading.Thread(target=launch, args=(1 + count * each,)) for each in range(threads)]
    for thread in started:
        thread.start()
    for number in range(1, count * threads + 1):
        cupti.kernel(number)
        if number % 500 == 0:
            cupti.deliver()
    for thread in started:
        thread.join()
    found = watch.end()

    assert (found.launches, found.launches_alone, found.kernels_alone) == (count * threads, 0, 0)
    assert len({each.thread for each in found.shared}) == threads


def test_a_launch_on_a_thread_without_python_has_its_thread(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.play_elsewhere(program((fake_cupti.LAUNCH, 1)))
    cupti.play(program((fake_cupti.LAUNCH, 2)))
    cupti.kernel(1)
    cupti.kernel(2)
    found = watch.end()

    first, second = (found.shared[place].thread for place in found.kernels[0::6])
    assert first is not None and second is not None and first != second


def test_a_kernel_without_its_launch_and_a_launch_without_its_kernel_are_counted(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.play(program((fake_cupti.LAUNCH, 1), (fake_cupti.LAUNCH, 2)))
    cupti.kernel(2)
    cupti.kernel(3, name="orphan")
    found = watch.end()

    assert (found.launches, found.launches_alone, found.kernels_alone) == (2, 1, 1)
    assert launches(found)[-1] == ("orphan", None)
    assert found.shared[found.kernels[6]].thread is None


@pytest.mark.parametrize("kind", [1, 22], ids=["on one GPU", "peer"])
def test_a_copy_on_the_device_has_the_call_that_asked_for_it(cupti: FakeCupti, kind: int) -> None:
    number = fake_cupti.PEER if kind == 22 else fake_cupti.ON_DEVICE
    watch = Watch()
    cupti.play(program((number, 6, 512)))
    cupti.copied(6, 512, way=10 if kind == 22 else 8, source=3, target=3, kind=kind)
    found = watch.end()

    (copy,) = found.copies
    assert (copy.id, copy.bytes, copy.device, copy.stream, copy.number) == (6, 512, 3, 7, number)
    assert copy.way == (CopyWay.PEER_TO_PEER if kind == 22 else CopyWay.DEVICE_TO_DEVICE)
    assert copy.source == copy.target == MemoryKind.DEVICE
    assert copy.called_ns is not None and copy.returned_ns is not None and copy.called_ns < copy.returned_ns
    assert (found.launches, found.launches_alone) == (1, 0)


def test_copies_are_in_the_order_of_their_calls_whichever_ends_first(cupti: FakeCupti) -> None:
    watch = Watch()
    for number in (3, 1, 2):
        cupti.read(number, 8 * number)
        cupti.deliver()
    copies = watch.end().copies

    assert [(copy.id, copy.bytes) for copy in copies] == [(1, 8), (2, 16), (3, 24)]
    assert (copies[-1].id, [copy.id for copy in copies[1:]]) == (3, [2, 3])
    with pytest.raises(IndexError):
        copies[3]


def test_a_copy_whose_call_was_told_has_no_other_call(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.play(program((fake_cupti.READ, 6, 8)))
    cupti.read(6, 8)
    found = watch.end()

    (copy,) = found.copies
    assert (copy.way, copy.source, copy.target) == (
        CopyWay.DEVICE_TO_HOST,
        MemoryKind.DEVICE,
        MemoryKind.PAGEABLE,
    )
    assert (copy.thread, copy.number, copy.called_ns, copy.returned_ns) == (None, None, None, None)


def test_a_memset_is_work_with_its_bytes(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.play(program((fake_cupti.MEMSET, 4)))
    cupti.memset(4, 4096)
    found = watch.end()

    (shared,) = found.shared
    assert (shared.name, shared.memset_bytes, shared.number, shared.device) == ("Memset", 4096, fake_cupti.MEMSET, 3)


def test_a_wait_has_the_gpu_of_its_context_and_a_stream_if_it_was_for_one(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.waited(1, stream=9)
    cupti.waited(2, type=4, stream=0xFFFFFFFF)
    cupti.waited(3, type=2)
    cupti.kernel(8)
    found = watch.end()

    assert found.waits == {1: (3, 9, None), 2: (3, None, None)}


def test_an_event_ties_streams_by_the_calls_that_recorded_it_and_wait_for_it(cupti: FakeCupti) -> None:
    watch = Watch()
    before = time.time_ns()
    cupti.play(program((fake_cupti.MARK, 1), (fake_cupti.STREAM_WAIT, 2), (fake_cupti.EVENT, 3)))
    cupti.marked(1, event=41, stream=7)
    cupti.waited(2, type=2, stream=9, event=41)
    cupti.waited(3, type=1, stream=0xFFFFFFFF, event=41)
    cupti.marked(4, event=42)
    cupti.kernel(8)
    found = watch.end()

    assert [(each.event, each.stream, each.device, each.waits) for each in found.events] == [
        (41, 7, 3, False),
        (41, 9, 3, True),
    ]
    assert all(each.thread == threading.get_native_id() and each.called_ns >= before for each in found.events)
    assert found.waits == {3: (3, None, 41)}


def test_what_is_captured_orders_nothing_yet(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.play(program((fake_cupti.BEGIN_CAPTURE, 1), (fake_cupti.MARK, 2), (fake_cupti.END_CAPTURE, 3)))
    cupti.marked(2, event=41)

    assert watch.end().events == ()


def test_how_long_the_look_at_each_call_took_is_known(cupti: FakeCupti) -> None:
    watch = Watch()
    before = time.perf_counter_ns()
    cupti.play(program((STREAM, 5), (STREAM, 3)))
    spent = time.perf_counter_ns() - before
    looks = watch.end().looks

    assert looks.of(5) > 0 and looks.of(3) > 0
    assert looks.of(5) + looks.of(3) <= spent
    assert looks.of(4) == looks.of(6) == 0


def test_what_many_calls_waited_for_is_held_once(cupti: FakeCupti) -> None:
    watch = Watch()
    for number in range(1, 101):
        cupti.waited(number, stream=7 + number % 2)
    found = watch.end().waits

    assert (len(found), len({id(each) for each in found.values()})) == (100, 2)


def test_the_gpu_of_a_wait_is_unknown_where_nothing_told_of_its_context(cupti: FakeCupti) -> None:
    watch = Watch()
    cupti.waited(1)

    assert watch.end().waits == {1: (None, 7, None)}


def test_work_is_placed_in_the_step_of_its_launch_however_late_it_runs(cupti: FakeCupti) -> None:
    watch = Watch()
    steps = []
    for number in (1, 2):
        begin = time.time_ns()
        cupti.play(program((fake_cupti.LAUNCH, number)))
        steps.append((begin, time.time_ns()))
    cupti.play(program((fake_cupti.LAUNCH, 3)))
    for number in (1, 2, 3):
        cupti.kernel(number, start=cupti.now() + 1_000_000)

    assert list(watch.end(steps).kernels[1::6]) == [0, 1, -1]


def test_the_clock_of_cupti_is_brought_to_the_systems(cupti: FakeCupti) -> None:
    ahead = 50_000_000_000
    cupti.run_ahead(ahead)
    watch = Watch()
    before = time.time_ns()
    cupti.play(program((fake_cupti.LAUNCH, 1), (fake_cupti.ON_DEVICE, 2)))
    after = time.time_ns()
    cupti.kernel(1, start=ahead + 1_000, end=ahead + 1_500)
    cupti.copied(2, 8, way=8, source=3, target=3)

    found = watch.end(((before, after),), ahead)

    (copy,) = found.copies
    assert list(found.kernels[1:4]) == [0, 1_000, 1_500]
    assert copy.start_ns < time.time_ns()
    # Calls are timed by the system's clock as it is.
    assert before < found.kernels[4] < found.kernels[5] < after
    assert copy.called_ns is not None and before < copy.called_ns < after
    assert abs(watch.cupti.ahead_ns() - ahead) < 1_000_000_000


def test_clocks_that_agree_as_well_as_can_be_told_are_left_alone(cupti: FakeCupti) -> None:
    watch = Watch()
    watch.end()

    assert watch.cupti.ahead_ns() == 0


@pytest.mark.parametrize("lose", [lambda fake: fake.drop(3), lambda fake: [fake.unknown() for _ in range(3)]])
def test_lost_records_are_counted(cupti: FakeCupti, lose: Callable[[FakeCupti], object]) -> None:
    watch = Watch()
    cupti.kernel(1)
    lose(cupti)

    assert watch.end().lost == 3


def test_nothing_of_one_watch_is_in_the_next(cupti: FakeCupti) -> None:
    first = Watch()
    cupti.play(program((fake_cupti.LAUNCH, 1)))
    cupti.kernel(1)
    cupti.waited(2)
    cupti.read(3, 8)
    first.end()
    second = Watch().end()

    assert (list(second.kernels), second.shared, list(second.copies), second.waits) == ([], (), [], {})
    assert (second.launches, second.launches_alone, second.kernels_alone, second.lost) == (0, 0, 0, 0)
