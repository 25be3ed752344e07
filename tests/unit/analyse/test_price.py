"""The cost of each line for a step; what was not measured is None, never 0."""

from __future__ import annotations

import pytest

from syncwatch.model.events import Direction, SyncKind
from syncwatch.model.report import NO_LINE, RecordingSummary
from syncwatch.model.session import Coverage, Recording
from syncwatch.pipeline import analysed_recording
from tests.helpers.fakes import US, Stacks, copy, frame, kernel, recording, steps, sync


def variant_of(known: Recording) -> RecordingSummary:
    return analysed_recording(known).summary


def test_a_site_is_counted_and_priced_a_step() -> None:
    # GIVEN two measured steps of 100 us, each with a wait of 40 us that ends 10 us after the queue ran empty
    all_steps = steps(3, warmup=1, each_ns=100 * US)
    begins = [step.start_ns for step in all_steps]
    known = recording(
        steps=all_steps,
        syncs=[sync(index, at=(begin + 10 * US, begin + 50 * US)) for index, begin in enumerate(begins)],
        kernels=[kernel((begin, begin + 40 * US)) for begin in begins]
        + [kernel((begin + 70 * US, begin + 100 * US)) for begin in begins],
        copies=[copy(index, size=8) for index in range(3)],
    )

    # WHEN
    variant = variant_of(known)
    (site,) = variant.sites

    # THEN the warm-up counts for nothing
    assert (site.calls, site.calls_per_step, site.bytes) == (2, 1.0, 8)
    assert site.host_blocked_us == pytest.approx(40)
    assert site.gpu_idle_us == pytest.approx(30)
    assert (variant.steps, variant.warmup_syncs) == (2, 1)
    assert (variant.per_step.syncs, variant.per_step.d2h_copies, variant.per_step.d2h_bytes) == (1, 1, 8)
    assert (variant.per_step.h2d_copies, variant.per_step.h2d_bytes) == (0, 0)
    assert variant.per_step.host_blocked_us == pytest.approx(40)
    assert variant.per_step.gpu_idle_us == pytest.approx(30)


def test_what_was_not_measured_is_none_and_never_zero() -> None:
    # GIVEN hooks without CUPTI: no times, no copies, no kernels
    hooks = Coverage(("debug_mode",), ("times",), None, 1)
    variant = variant_of(recording(syncs=[sync()], copies=None, kernels=None, coverage=hooks))

    # THEN
    step, (site,) = variant.per_step, variant.sites
    assert step.syncs == 1
    assert (step.d2h_copies, step.d2h_bytes, step.h2d_copies, step.h2d_bytes) == (None, None, None, None)
    assert (step.host_blocked_us, step.gpu_idle_us) == (None, None)
    assert (site.host_blocked_us, site.gpu_idle_us, site.bytes) == (None, None, None)
    assert variant.step_ms is None


def test_one_wait_without_a_time_leaves_the_sum_unmeasured() -> None:
    variant = variant_of(recording(syncs=[sync(at=(0, 10)), sync()]))
    assert variant.per_step.host_blocked_us is None
    assert variant.sites[0].host_blocked_us is None


def test_silence_without_a_sensor_that_counts_is_not_zero_time() -> None:
    suppressed = Coverage(("debug_mode",), (), None, 0)
    assert variant_of(recording(coverage=suppressed)).per_step.host_blocked_us is None
    assert variant_of(recording()).per_step.host_blocked_us == 0


def test_sites_are_grouped_by_line_and_cause_and_the_worst_comes_first() -> None:
    # GIVEN
    stacks = Stacks()
    item = stacks.add(frame("a = x.item(); b = y.tolist()", "x.item()", line=1))
    listed = stacks.add(frame("a = x.item(); b = y.tolist()", "y.tolist()", line=1))
    other = stacks.add(frame("z.item()", "z.item()", line=2))
    again = stacks.add(frame("z.item()", "z.item()", line=2), frame(file="app/other_caller.py"))
    asked = stacks.add(frame("torch.cuda.synchronize()", "torch.cuda.synchronize()", line=3))
    syncs = [
        sync(stack=item, at=(0, 10)),
        sync(stack=listed, at=(20, 50)),
        sync(stack=other, at=(60, 70)),
        sync(stack=again, at=(80, 95)),
        sync(stack=asked, at=(100, 900), kind=SyncKind.DEVICE, explicit=True),
    ]

    # WHEN
    variant = variant_of(recording(syncs=syncs, kernels=None, stacks=stacks))

    # THEN
    assert [(site.code, site.line, site.calls) for site in variant.sites] == [
        ("SW102", 1, 1),
        ("SW101", 2, 2),
        ("SW101", 1, 1),
        ("SW401", 3, 1),
    ]
    assert (variant.per_step.syncs, variant.per_step.explicit_syncs) == (5, 1)


def test_pacing_waits_are_stated_and_not_counted() -> None:
    known = recording(
        steps=steps(2, warmup=1), syncs=[sync(0, pacing=True), sync(1, pacing=True), sync(1, at=(1_100_000, 1_100_500))]
    )
    variant = variant_of(known)
    assert (variant.pacing_waits, variant.per_step.syncs, variant.warmup_syncs) == (1, 1, 0)


def test_device_to_device_copies_are_nobodys_transfer() -> None:
    known = recording(syncs=[sync()], copies=[copy(direction=Direction.D2D, size=4096), copy(size=4)])
    variant = variant_of(known)
    assert (variant.per_step.d2h_bytes, variant.per_step.h2d_bytes, variant.sites[0].bytes) == (4, 0, 4)


def test_a_run_that_ended_in_its_warm_up_divides_by_nothing() -> None:
    variant = variant_of(recording(steps=steps(1, warmup=1), syncs=[sync(0)]))
    assert (variant.steps, variant.warmup_syncs, variant.sites) == (0, 1, ())
    assert variant.per_step.host_blocked_us is None


def test_notes_name_what_the_figures_leave_out() -> None:
    known = recording(steps=steps(1), syncs=[sync(0, stack=None), sync(None)], notes=("From the sensor.",))
    variant = variant_of(known)
    assert variant.sites[0].file == NO_LINE
    assert variant.notes == ("From the sensor.", "1 synchronization has no Python line outside torch.")
