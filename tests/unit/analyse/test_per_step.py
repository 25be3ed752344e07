"""Where the time of the measured steps went: the parts add up to the whole, for every stream and kind of line."""

from __future__ import annotations

import pytest

from syncwatch.model.events import SyncKind
from syncwatch.model.report import RecordingSummary
from syncwatch.model.session import Recording
from syncwatch.pipeline import analysed_recording
from tests.helpers.fakes import US, Stacks, frame, kernel, recording, steps, sync


def variant_of(known: Recording) -> RecordingSummary:
    return analysed_recording(known).summary


def test_the_account_explains_the_whole_span() -> None:
    # GIVEN a step: 40 us of work, a wait that ends 10 us later, 20 us until the next kernel, a launch gap of 15 us
    known = recording(
        steps=steps(1, each_ns=200 * US),
        syncs=[sync(0, at=(10 * US, 50 * US))],
        kernels=[
            kernel((0, 40 * US), step=0),
            kernel((70 * US, 100 * US), step=0),
            kernel((115 * US, 150 * US), step=0),
        ],
    )

    step = variant_of(known).per_step

    assert (step.gpu_busy_us, step.gpu_idle_us, step.launch_gap_us, step.gpu_span_us) == (105, 30, 15, 150)
    assert (step.drain_wait_us, step.call_overhead_us, step.host_blocked_us) == (30, 10, 40)
    assert step.kernel_us == 105


def test_what_the_runners_own_waits_idled_away_is_nobodys() -> None:
    known = recording(
        steps=steps(1, each_ns=200 * US),
        syncs=[sync(0, at=(45 * US, 50 * US), pacing=True)],
        kernels=[kernel((0, 40 * US), step=0), kernel((70 * US, 100 * US), step=0)],
    )

    step = variant_of(known).per_step

    assert (step.gpu_idle_us, step.launch_gap_us, step.gpu_span_us) == (0, 5, 75)


def test_a_stream_may_idle_while_another_works() -> None:
    known = recording(
        steps=steps(1, each_ns=200 * US),
        syncs=[sync(0, at=(10 * US, 40 * US))],
        kernels=[
            kernel((0, 40 * US), step=0),
            kernel((0, 200 * US), step=0, stream=13),
            kernel((70 * US, 100 * US), step=0),
        ],
    )

    (site,) = variant_of(known).sites

    assert (site.gpu_idle_us, site.stream_idle_us) == (0, 30)
    assert (site.drain_wait_us, site.call_overhead_us) == (30, 0)


def test_allocator_calls_are_sites_of_their_own_and_no_syncs() -> None:
    known = recording(
        steps=steps(1, each_ns=200 * US),
        syncs=[
            sync(0, kind=SyncKind.ALLOCATION, at=(45 * US, 55 * US)),
            sync(0, at=(10 * US, 40 * US)),
        ],
        kernels=[kernel((0, 40 * US), step=0), kernel((70 * US, 100 * US), step=0)],
    )

    variant = variant_of(known)

    assert (variant.per_step.syncs, variant.per_step.allocator_calls) == (1, 1)
    assert {site.code: site.gpu_idle_us for site in variant.sites} == {"SW101": 30, "SW601": 0}


def test_a_line_of_every_step_is_structural_and_one_of_warm_up_is_apart() -> None:
    stacks = Stacks()
    stacks.add(frame())
    stacks.add(frame(line=99))
    known = recording(
        steps=steps(4, warmup=1, each_ns=100 * US),
        syncs=[sync(0, stack=1), sync(0), sync(1), sync(2), sync(3)],
        stacks=stacks,
    )

    variant = variant_of(known)

    assert [(site.line, site.structural) for site in variant.sites] == [(7, True)]
    assert [(site.line, site.calls) for site in variant.warmup_sites] == [(99, 1)]


@pytest.mark.parametrize("waited", [(1, 2), (1,)])
def test_a_line_that_waits_now_and_then_is_not_structural(waited: tuple[int, ...]) -> None:
    known = recording(steps=steps(4, warmup=1), syncs=[sync(step) for step in waited])

    assert [site.structural for site in variant_of(known).sites] == [False]
