"""How much the worst step had. An average would let one step wait for three."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from syncwatch.analyse.sites import counted_copies
from syncwatch.analyse.timeline import Window
from syncwatch.model.events import Direction, SyncKind
from syncwatch.model.finding import PerStep, WorstStep
from syncwatch.model.session import Recording
from syncwatch.model.wait import Price, Wait

_US = 1000.0


def worst_step(waits: Sequence[Wait], recording: Recording, window: Window, average: PerStep) -> WorstStep | None:
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
        else _most((step, _idle_ns(price)) for step, price in known) / _US,
    )


def _idle_ns(price: Price | None) -> int:
    return 0 if price is None or price.idle_ns is None else price.idle_ns


def _most(amounts: Iterable[tuple[int | None, int]]) -> int:
    by_step: Counter[int | None] = Counter()
    for step, amount in amounts:
        by_step[step] += amount
    return max(by_step.values(), default=0)
