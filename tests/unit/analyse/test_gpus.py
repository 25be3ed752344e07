"""Runs on several GPUs: each wait, stream, gap and copy counts for the GPU that it belongs to."""

from __future__ import annotations

import pytest

from syncwatch.model.report import RecordingSummary
from syncwatch.pipeline import report_of
from tests.helpers.fakes import US, Stacks, copy, frame, kernel, recording, session, steps, sync

STEP = 200 * US


def two_gpus() -> RecordingSummary:
    """Return a step in which each GPU works and is waited for; both number their streams 7."""
    stacks = Stacks()
    lines = [stacks.add(frame(line=line)) for line in (1, 2)]
    known = recording(
        steps=steps(1, each_ns=STEP),
        syncs=[
            sync(0, at=(10 * US, 50 * US), stack=lines[0], device=0),
            sync(0, at=(55 * US, 95 * US), stack=lines[1], device=1),
        ],
        kernels=[
            kernel((0, 40 * US), step=0),
            kernel((120 * US, 150 * US), step=0),
            kernel((20 * US, 90 * US), step=0, device=1),
            kernel((100 * US, 160 * US), step=0, device=1),
        ],
        stacks=stacks,
    )
    return report_of(session(known)).variants[0]


def test_a_wait_is_priced_by_the_gpu_that_it_was_for() -> None:
    first, second = sorted(two_gpus().sites, key=lambda site: site.line)
    # GPU 0 ran empty at 40 us and got work at 120 us, whatever GPU 1 did on its stream of the same number.
    assert (first.drain_wait_us, first.call_overhead_us) == (30, 10)
    assert (first.gpu_idle_us, first.stream_idle_us) == (80, 80)
    assert (second.drain_wait_us, second.call_overhead_us) == (35, 5)
    assert (second.gpu_idle_us, second.stream_idle_us) == (10, 10)


def test_the_account_is_kept_for_each_gpu_and_added_up() -> None:
    variant = two_gpus()
    step = variant.per_step
    assert (step.gpu_busy_us, step.gpu_idle_us, step.launch_gap_us) == (70 + 130, 80 + 10, 0)
    assert step.gpu_span_us == 150 + 140
    assert step.kernel_us == 200
    assert "GPU figures are summed over 2 GPUs." in variant.notes
    assert sum(site.step_share or 0 for site in variant.sites) == pytest.approx(90 / 290)


def test_launch_gaps_of_one_gpu_are_not_filled_by_another() -> None:
    known = recording(
        steps=steps(1, each_ns=STEP),
        kernels=[
            kernel((0, 40 * US), step=0),
            kernel((60 * US, 80 * US), step=0),
            kernel((0, 80 * US), step=0, device=1),
        ],
    )
    step = report_of(session(known)).variants[0].per_step
    assert (step.gpu_busy_us, step.launch_gap_us, step.gpu_span_us) == (140, 20, 160)


def test_one_gpu_of_another_number_is_no_sum() -> None:
    known = recording(
        steps=steps(1, each_ns=STEP),
        syncs=[sync(0, at=(10 * US, 50 * US), device=3)],
        kernels=[kernel((0, 40 * US), step=0, device=3), kernel((70 * US, 90 * US), step=0, device=3)],
    )
    variant = report_of(session(known)).variants[0]
    assert variant.per_step.gpu_idle_us == 30
    assert not any("summed" in note for note in variant.notes)


def test_a_gpu_that_never_worked_stands_idle_at_nobodys_cost() -> None:
    known = recording(
        steps=steps(1, each_ns=STEP),
        syncs=[sync(0, at=(10 * US, 50 * US), device=1)],
        kernels=[kernel((0, 40 * US), step=0)],
    )
    variant = report_of(session(known)).variants[0]
    (site,) = variant.sites
    assert (site.host_blocked_us, site.drain_wait_us, site.gpu_idle_us) == (40, 0, 0)
    assert variant.per_step.gpu_idle_us == 0


def test_a_copy_keeps_its_own_gpu_busy() -> None:
    known = recording(
        steps=steps(1, each_ns=STEP),
        syncs=[sync(0, at=(10 * US, 50 * US), device=1)],
        kernels=[kernel((0, 5 * US), step=0), kernel((60 * US, 70 * US), step=0, device=1)],
        copies=[copy(0, at=(0, 45 * US), device=1), copy(0, at=(45 * US, 49 * US))],
    )
    (site,) = report_of(session(known)).variants[0].sites
    assert (site.drain_wait_us, site.gpu_idle_us) == (35, 15)
