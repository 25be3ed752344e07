"""What one step of a variant adds up to: counts, bytes, and an account of the GPU's time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from syncwatch.analyse.account import Account
from syncwatch.analyse.sites import counted_copies
from syncwatch.analyse.timeline import Window
from syncwatch.analyse.totals import NOT_MEASURED, Totals, totals, us_a_step
from syncwatch.model.compact import work_of
from syncwatch.model.events import Direction, SyncKind
from syncwatch.model.finding import PerStep, recorder_of
from syncwatch.model.session import Recorder, Recording
from syncwatch.model.wait import Wait


def per_step(waits: Sequence[Wait], recording: Recording, window: Window, account: Account | None) -> PerStep:
    """Return the figures of a step of `recording`, whose GPU time is told by `account`."""
    if not window.steps:
        return PerStep(*(None for _ in fields(PerStep)))
    counted = [wait for wait in waits if wait.finding is not None and window.counts(wait.sync.step)]
    syncs = [wait for wait in counted if wait.sync.kind is not SyncKind.ALLOCATION]
    # No wait and no sensor that counts is silence, not health.
    watched = bool(syncs) or recording.coverage.seen is not None
    cost = totals([wait.price for wait in syncs], window.steps) if watched else NOT_MEASURED
    copied = None if recording.copies is None else _copied(recording, window)
    steps = window.steps
    recorded = bool(syncs) or _counts_waits(recording)
    return PerStep(
        syncs=len(syncs) / steps if recorded else None,
        explicit_syncs=sum(wait.explicit for wait in syncs) / steps if recorded else None,
        allowed_syncs=sum(wait.sync.allowed is not None for wait in syncs) / steps if recorded else None,
        allocator_calls=(len(counted) - len(syncs)) / steps if _sees_allocator(recording) else None,
        d2h_copies=None if copied is None else copied[Direction.D2H][0] / steps,
        d2h_bytes=None if copied is None else copied[Direction.D2H][1] / steps,
        h2d_copies=None if copied is None else copied[Direction.H2D][0] / steps,
        h2d_bytes=None if copied is None else copied[Direction.H2D][1] / steps,
        host_blocked_us=cost.blocked_us,
        drain_wait_us=cost.drain_us,
        call_overhead_us=cost.overhead_us,
        gpu_span_us=us_a_step(account.span_ns, steps) if account else None,
        gpu_busy_us=us_a_step(account.busy_ns, steps) if account else None,
        gpu_idle_us=_idle_us(account, cost, steps),
        launch_gap_us=us_a_step(account.gap_ns, steps) if account and cost.idle_us is not None else None,
        kernel_us=_kernel_us(recording, window),
        host_build_us=us_a_step(sum(recording.host_build_ns), steps) if recording.host_build_ns else None,
    )


def _idle_us(account: Account | None, cost: Totals, steps: int) -> float | None:
    """Return the bubbles of a step, those behind allocator calls too; None where one of them was not measured."""
    return cost.idle_us if account is None or cost.idle_us is None else us_a_step(account.idle_ns, steps)


def _counts_waits(recording: Recording) -> bool:
    """Return whether a wait would have been seen: of our sensors one always runs, and a trace may lack the calls."""
    return recorder_of(recording.coverage) is Recorder.SYNCWATCH or recording.coverage.seen is not None


def _sees_allocator(recording: Recording) -> bool:
    if recorder_of(recording.coverage) is not Recorder.SYNCWATCH:
        return recording.coverage.seen is not None
    return bool({"runtime_calls", "cupti", "virtual"} & set(recording.coverage.sensors))


def _copied(recording: Recording, window: Window) -> dict[Direction, tuple[int, int]]:
    """Return how many copies went each way in the steps that count, and how many bytes."""
    found = dict.fromkeys(Direction, (0, 0))
    for copy in counted_copies(recording, window):
        count, size = found[copy.direction]
        found[copy.direction] = (count + 1, size + copy.bytes)
    return found


def _kernel_us(recording: Recording, window: Window) -> float | None:
    if recording.kernels is None:
        return None
    spent = sum(end - start for _, _, step, start, end in work_of(recording.kernels) if window.counts(step))
    return us_a_step(spent, window.steps)
