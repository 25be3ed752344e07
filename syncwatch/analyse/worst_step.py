"""Answers: how much had the worst step? An average would let one step wait for three."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from syncwatch.analyse.price import Price, Prices
from syncwatch.analyse.sites import counted_copies
from syncwatch.analyse.timeline import Window
from syncwatch.model.events import Direction, SyncKind
from syncwatch.model.finding import Attributed, PerStep, WorstStep
from syncwatch.model.session import Recording

_US = 1000.0


def worst_step(
    found: Sequence[Attributed], recording: Recording, window: Window, costs: Prices, average: PerStep
) -> WorstStep | None:
    """Return the most that one of the steps that count had.

    Args:
        found: the waits with their lines.
        recording: where they are from.
        window: the steps that count.
        costs: the price of each wait.
        average: the figures of a step; what was not measured there was not measured here.
    """
    if not window.steps:
        return None
    syncs = [item.sync for item in found if window.counts(item.sync.step) and item.sync.kind is not SyncKind.ALLOCATION]
    copies = [copy for copy in counted_copies(recording, window) if copy.direction is Direction.D2H]
    # Without marked steps the whole run is one, whatever step an event names.
    one = window.measured is None
    known = [(None if one else sync.step, costs.get(id(sync))) for sync in syncs]
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
