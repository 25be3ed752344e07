"""Host work: drawn alike for every variant, real time on a GPU, modelled time on the virtual device."""

from __future__ import annotations

import time

import pytest
from syncwatch_scenarios.gdn_prefill.host_work import HostWork
from syncwatch_scenarios.gdn_prefill.workload import compute_for

from syncwatch.sense.virtual.device import VirtualDevice


def test_the_work_of_a_step_is_within_its_spread_and_repeatable() -> None:
    work = HostWork(2000, 0.5)

    drawn = [work.us_of(0, index) for index in range(500)]

    assert all(1000 <= each <= 3000 for each in drawn)
    assert sum(drawn) / len(drawn) == pytest.approx(2000, rel=0.05)
    assert drawn == [work.us_of(0, index) for index in range(500)]
    assert drawn != [work.us_of(1, index) for index in range(500)]
    assert {HostWork(2000, 0.0).us_of(0, index) for index in range(5)} == {2000}


def test_on_the_virtual_device_its_clock_is_moved_on_by_exactly_the_work() -> None:
    device = VirtualDevice()
    device.start()
    try:
        before, began = device.now_ns(), time.perf_counter_ns()
        compute_for(3_600_000_000)
        took = device.now_ns() - before
        real = time.perf_counter_ns() - began
    finally:
        device.stop()

    assert took == 3_600_000_000_000
    assert real < took


def test_without_it_the_thread_is_busy_for_that_long() -> None:
    began, busy = time.perf_counter_ns(), time.thread_time_ns()

    compute_for(2000)

    assert time.perf_counter_ns() - began >= 2_000_000
    assert time.thread_time_ns() > busy
