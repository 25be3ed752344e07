from __future__ import annotations

import pytest


MAIN, OTHER = ThreadId(1), ThreadId(2)
LAUNCH = 5


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def test_a_kernel_starts_when_the_host_has_launched_it_on_an_idle_stream(clock: VirtualClock) -> None:
    assert clock.launch(MAIN, DEFAULT_STREAM, LAUNCH, 100) == Span(5, 105)
    assert clock.host(MAIN) == 5


def test_a_kernel_waits_for_the_one_before_it(clock: VirtualClock) -> None:
    clock.launch(MAIN, DEFAULT_STREAM, LAUNCH, 100)

    assert clock.launch(MAIN, DEFAULT_STREAM, LAUNCH, 10) == Span(105, 115)
    assert clock.host(MAIN) == 10


def test_the_host_waits_for_the_end_of_the_stream_and_pays_for_the_call(clock: VirtualClock) -> None:
    clock.launch(MAIN, DEFAULT_STREAM, LAUNCH, 100)

    assert clock.wait_stream(MAIN, DEFAULT_STREAM, 3) == Span(5, 108)
    assert clock.host(MAIN) == 108


def test_waiting_for_an_idle_stream_costs_the_call_alone(clock: VirtualClock) -> None:
    clock.work(MAIN, 50)

    assert clock.wait_stream(MAIN, DEFAULT_STREAM, 3).length == 3


def test_streams_run_beside_each_other(clock: VirtualClock) -> None:
    side = clock.new_stream()
    clock.launch(MAIN, DEFAULT_STREAM, LAUNCH, 100)

    assert clock.launch(MAIN, side, LAUNCH, 100) == Span(10, 110)
    assert clock.wait_device(MAIN, 0).end == 110


def test_copies_of_one_direction_share_an_engine_and_directions_do_not(clock: VirtualClock) -> None:
    side = clock.new_stream()
    clock.copy(MAIN, DEFAULT_STREAM, "h2d", LAUNCH, 100)

    assert clock.copy(MAIN, side, "h2d", LAUNCH, 10) == Span(105, 115)
    assert clock.copy(MAIN, clock.new_stream(), "d2h", LAUNCH, 10) == Span(15, 25)


def test_a_copy_does_not_hold_up_kernels_of_another_stream(clock: VirtualClock) -> None:
    side = clock.new_stream()
    clock.copy(MAIN, side, "h2d", LAUNCH, 1000)

    assert clock.launch(MAIN, DEFAULT_STREAM, LAUNCH, 10).start == 10


def test_a_stream_that_waits_for_an_event_starts_after_it(clock: VirtualClock) -> None:
    side = clock.new_stream()
    clock.launch(MAIN, DEFAULT_STREAM, LAUNCH, 100)

    clock.hold(side, clock.mark(MAIN, DEFAULT_STREAM))

    assert clock.launch(MAIN, side, LAUNCH, 1).start == 105
    assert clock.host(MAIN) == 10, "the host went on"


def test_an_event_passes_when_the_host_has_reached_it(clock: VirtualClock) -> None:
    clock.launch(MAIN, DEFAULT_STREAM, LAUNCH, 100)
    moment = clock.mark(MAIN, DEFAULT_STREAM)

    assert not clock.passed(MAIN, moment)
    clock.work(MAIN, 100)
    assert clock.passed(MAIN, moment)


def test_two_events_are_as_far_apart_as_what_lies_between(clock: VirtualClock) -> None:
    start = clock.mark(MAIN, DEFAULT_STREAM)
    clock.launch(MAIN, DEFAULT_STREAM, 0, 2_000_000)

    assert elapsed_ms(start, clock.mark(MAIN, DEFAULT_STREAM)) == 2.0


def test_threads_have_clocks_of_their_own_and_start_no_earlier_than_the_latest(clock: VirtualClock) -> None:
    clock.work(MAIN, 70)

    assert clock.host(OTHER) == 70
    clock.work(OTHER, 5)
    assert clock.host(MAIN) == 70


def test_years_of_virtual_time_stay_exact(clock: VirtualClock) -> None:
    clock.work(MAIN, 10**20)

    assert clock.launch(MAIN, DEFAULT_STREAM, 1, 1) == Span(10**20 + 1, 10**20 + 2)
