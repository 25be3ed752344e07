"""What one step of a variant adds up to, on average and at worst: counts, bytes, and an account of the GPU's time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from syncwatch.analyse.sites import NOT_MEASURED, Totals, counted_copies, totals, us_a_step
from syncwatch.analyse.timeline import CountedSteps, Timeline, extents
from syncwatch.model.analysis import AnalysedWait, Price, Span
from syncwatch.model.compact import work_of
from syncwatch.model.events import Direction, SyncKind
from syncwatch.model.report import PerStep, WorstStep, recorder_of
from syncwatch.model.session import RecordedBy, Recording


@dataclass(frozen=True, slots=True)
class Account:
    """The measured steps on the GPUs, in nanoseconds: `span_ns` is the sum of the other three."""

    busy_ns: int
    bubble_ns: int
    """Charged to the synchronizations of the measured steps."""
    launch_gap_ns: int
    """Charged to none: the host was too slow to launch."""
    gpus: int
    """How many GPUs this is summed over."""

    @property
    def span_ns(self) -> int:
        """Return the time from the first work to the last, without what the runner's own waits idled away."""
        return self.busy_ns + self.bubble_ns + self.launch_gap_ns


def account_of(
    waits: Iterable[AnalysedWait], recording: Recording, window: CountedSteps, timeline: Timeline
) -> Account | None:
    """Return the account of the steps that count, summed over the GPUs that worked in them.

    None where kernels were not recorded, or none ran.
    """
    counted = extents(recording, window)
    if timeline.gpus is None or not counted:
        return None
    bubbles: dict[int, list[tuple[bool, Span]]] = defaultdict(list)
    for wait in waits:
        bubble = wait.bubble
        if bubble is not None and bubble[0] < bubble[1]:
            charged = wait.finding is not None and window.counts(wait.sync.step)
            bubbles[wait.sync.device].append((charged, bubble))
    accounts = [_of_gpu(timeline.gpus[gpu], span, bubbles[gpu]) for gpu, span in counted.items()]
    return Account(
        busy_ns=sum(each.busy_ns for each in accounts),
        bubble_ns=sum(each.bubble_ns for each in accounts),
        launch_gap_ns=sum(each.launch_gap_ns for each in accounts),
        gpus=len(accounts),
    )


def _of_gpu(busy: Sequence[Span], extent: Span, bubbles: Iterable[tuple[bool, Span]]) -> Account:
    """Return the account of one GPU; each bubble comes with whether it is charged to a wait that counts."""
    first, last = extent
    ours = others = 0
    for charged, (start, end) in bubbles:
        if charged:
            # The idle time after the last wait belongs to the steps too.
            ours += end - start
            last = max(last, end)
        elif first <= start and end <= last:
            others += end - start
    worked = sum(max(0, min(end, last) - max(start, first)) for start, end in busy)
    return Account(worked, ours, max(0, last - first - worked - ours - others), gpus=1)


def per_step(
    waits: Sequence[AnalysedWait], recording: Recording, window: CountedSteps, account: Account | None
) -> PerStep:
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
        gpu_idle_us=_bubble_us(account, cost, steps),
        launch_gap_us=us_a_step(account.launch_gap_ns, steps) if account and cost.bubble_us is not None else None,
        kernel_us=_kernel_us(recording, window),
        host_build_us=us_a_step(sum(recording.host_build_ns), steps) if recording.host_build_ns else None,
    )


def _bubble_us(account: Account | None, cost: Totals, steps: int) -> float | None:
    """Return the bubbles of a step, those behind allocator calls too; None where one of them was not measured."""
    return cost.bubble_us if account is None or cost.bubble_us is None else us_a_step(account.bubble_ns, steps)


def _counts_waits(recording: Recording) -> bool:
    """Return whether a wait would have been seen: of our sensors one always runs, and a trace may lack the calls."""
    return recorder_of(recording.coverage) is RecordedBy.SYNCWATCH or recording.coverage.seen is not None


def _sees_allocator(recording: Recording) -> bool:
    if recorder_of(recording.coverage) is not RecordedBy.SYNCWATCH:
        return recording.coverage.seen is not None
    return bool({"runtime_calls", "cupti", "virtual"} & set(recording.coverage.sensors))


def _copied(recording: Recording, window: CountedSteps) -> dict[Direction, tuple[int, int]]:
    """Return how many copies went each way in the steps that count, and how many bytes."""
    found = dict.fromkeys(Direction, (0, 0))
    for copy in counted_copies(recording, window):
        count, size = found[copy.direction]
        found[copy.direction] = (count + 1, size + copy.bytes)
    return found


def _kernel_us(recording: Recording, window: CountedSteps) -> float | None:
    if recording.kernels is None:
        return None
    spent = sum(end - start for _, _, step, start, end in work_of(recording.kernels) if window.counts(step))
    return us_a_step(spent, window.steps)


_US = 1000.0


def worst_step(
    waits: Sequence[AnalysedWait], recording: Recording, window: CountedSteps, average: PerStep
) -> WorstStep | None:
    """Return the most that one of the steps that count had.

    Args:
        waits: each with its line and its price.
        recording: where they are from.
        window: the steps that count.
        average: the figures of a step; what was not measured there was not measured here.
    """
    if not window.steps:
        return None
    of_target = (wait for wait in waits if wait.finding is not None and wait.sync.kind is not SyncKind.ALLOCATION)
    copies = [copy for copy in counted_copies(recording, window) if copy.direction is Direction.D2H]
    # Without marked steps the whole run is one, whatever step an event names.
    one = window.measured is None
    known = [(None if one else wait.sync.step, wait.price) for wait in of_target if window.counts(wait.sync.step)]
    return WorstStep(
        syncs=None if average.syncs is None else _most((step, 1) for step, _ in known),
        d2h_copies=None if average.d2h_copies is None else _most((None if one else copy.step, 1) for copy in copies),
        d2h_bytes=None
        if average.d2h_bytes is None
        else _most((None if one else copy.step, copy.bytes) for copy in copies),
        host_blocked_us=None
        if average.host_blocked_us is None
        else _most((step, 0 if price is None else price.blocked_ns) for step, price in known) / _US,
        gpu_idle_us=None
        if average.gpu_idle_us is None
        else _most((step, _bubble_ns(price)) for step, price in known) / _US,
    )


def _bubble_ns(price: Price | None) -> int:
    return 0 if price is None or price.bubble_ns is None else price.bubble_ns


def _most(amounts: Iterable[tuple[int | None, int]]) -> int:
    by_step: Counter[int | None] = Counter()
    for step, amount in amounts:
        by_step[step] += amount
    return max(by_step.values(), default=0)
