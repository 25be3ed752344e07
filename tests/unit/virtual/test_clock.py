"""The virtual clock: streams, copy engines, events and host threads keep the time that a GPU would."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from syncwatch.sense.virtual.clock.clock import DEFAULT_STREAM, DeviceClock, Span, elapsed_ms
from syncwatch.sense.virtual.device import VirtualDevice

LAUNCH = 5


@pytest.fixture
def clock(device: VirtualDevice) -> DeviceClock:
    return device.engine.clock


def elsewhere(function: Callable[[], int]) -> int:
    """Return what `function` returns in a new thread that nobody times."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def test_a_device_starts_at_zero(clock: DeviceClock) -> None:
    assert (clock.host(), clock.busy_until(), clock.stream()) == (0, 0, DEFAULT_STREAM)


def test_a_kernel_starts_when_the_host_has_launched_it_on_an_idle_stream(clock: DeviceClock) -> None:
    assert clock.launch(DEFAULT_STREAM, LAUNCH, 100) == Span(5, 105)
    assert clock.host() == 5


def test_a_kernel_waits_for_the_one_before_it(clock: DeviceClock) -> None:
    clock.launch(DEFAULT_STREAM, LAUNCH, 100)

    assert clock.launch(DEFAULT_STREAM, LAUNCH, 10) == Span(105, 115)
    assert clock.host() == 10


def test_the_host_waits_for_the_end_of_the_stream_and_pays_for_the_call(clock: DeviceClock) -> None:
    clock.launch(DEFAULT_STREAM, LAUNCH, 100)

    assert clock.wait(clock.tail(DEFAULT_STREAM), 3) == Span(5, 108)
    assert clock.host() == 108


def test_waiting_for_an_idle_stream_costs_the_call_alone(clock: DeviceClock) -> None:
    clock.work(50)

    assert clock.idle(DEFAULT_STREAM)
    assert clock.wait(clock.tail(DEFAULT_STREAM), 3).length == 3


def test_streams_run_beside_each_other(clock: DeviceClock) -> None:
    side = clock.new_stream()
    clock.launch(DEFAULT_STREAM, LAUNCH, 100)

    assert clock.launch(side, LAUNCH, 100) == Span(10, 110)
    assert clock.wait_device(0).end == 110


def test_copies_of_one_direction_share_an_engine_and_directions_do_not(clock: DeviceClock) -> None:
    side = clock.new_stream()
    clock.copy(DEFAULT_STREAM, "h2d", LAUNCH, 100)

    assert clock.copy(side, "h2d", LAUNCH, 10) == Span(105, 115)
    assert clock.copy(clock.new_stream(), "d2h", LAUNCH, 10) == Span(15, 25)


def test_a_copy_does_not_hold_up_kernels_of_another_stream(clock: DeviceClock) -> None:
    side = clock.new_stream()
    clock.copy(side, "h2d", LAUNCH, 1000)

    assert clock.launch(DEFAULT_STREAM, LAUNCH, 10).start == 10


def test_a_stream_that_waits_for_an_event_starts_after_it(clock: DeviceClock) -> None:
    side = clock.new_stream()
    clock.launch(DEFAULT_STREAM, LAUNCH, 100)

    clock.hold(side, clock.mark(DEFAULT_STREAM))

    assert clock.launch(side, LAUNCH, 1).start == 105
    assert clock.host() == 10, "the host went on"


def test_an_event_passes_when_the_host_has_reached_it(clock: DeviceClock) -> None:
    clock.launch(DEFAULT_STREAM, LAUNCH, 100)
    moment = clock.mark(DEFAULT_STREAM)

    assert not clock.passed(moment)
    clock.work(100)
    assert clock.passed(moment)


def test_two_events_are_as_far_apart_as_what_lies_between(clock: DeviceClock) -> None:
    start = clock.mark(DEFAULT_STREAM)
    clock.launch(DEFAULT_STREAM, 0, 2_000_000)

    assert elapsed_ms(start, clock.mark(DEFAULT_STREAM)) == 2.0


def test_threads_have_clocks_of_their_own_and_start_no_earlier_than_the_latest(clock: DeviceClock) -> None:
    clock.work(70)

    assert elsewhere(lambda: clock.work(5)) == 75
    assert clock.host() == 70


def test_a_thread_has_a_current_stream_of_its_own(clock: DeviceClock) -> None:
    side = clock.new_stream()
    clock.set_stream(side)

    assert elsewhere(clock.stream) == DEFAULT_STREAM
    assert clock.stream() == side


def test_a_thread_that_was_there_before_keeps_its_time(clock: DeviceClock) -> None:
    asked, answered = threading.Event(), threading.Event()
    times: list[int] = []

    def look() -> None:
        times.append(clock.host())
        answered.set()
        asked.wait()
        times.append(clock.host())

    thread = threading.Thread(target=look)
    thread.start()
    answered.wait()
    clock.work(1000)
    asked.set()
    thread.join()

    assert times == [0, 0]


def test_years_of_virtual_time_stay_exact(clock: DeviceClock) -> None:
    years = 250 * 365 * 24 * 3600 * 10**9
    clock.work(years)

    assert clock.launch(DEFAULT_STREAM, 1, 1) == Span(years + 1, years + 2)


def test_a_device_that_is_put_on_again_starts_anew() -> None:
    device = VirtualDevice()
    device.start()
    clock = device.engine.clock
    clock.set_stream(clock.new_stream())
    clock.launch(DEFAULT_STREAM, LAUNCH, 100)
    device.stop()

    device.start()
    clock = device.engine.clock
    found = clock.host(), clock.busy_until(), clock.stream()
    device.stop()

    assert found == (0, 0, DEFAULT_STREAM)
