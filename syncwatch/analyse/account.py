"""Answers: where did the GPU's time of the measured steps go? Busy, idle after a sync, idle for want of launches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from syncwatch.analyse.price import Prices
from syncwatch.analyse.timeline import Window, busy_spans, work_of
from syncwatch.model.finding import Attributed
from syncwatch.model.session import Recording


@dataclass(frozen=True, slots=True)
class Account:
    """The measured steps on the GPU, in nanoseconds: `span_ns` is the sum of the other three."""

    busy_ns: int
    idle_ns: int
    """Charged to the synchronizations of the measured steps."""
    gap_ns: int
    """Charged to none: the host was too slow to launch."""

    @property
    def span_ns(self) -> int:
        """Return the time from the first work to the last, without what the runner's own waits idled away."""
        return self.busy_ns + self.idle_ns + self.gap_ns


def account_of(found: Iterable[Attributed], recording: Recording, window: Window, costs: Prices) -> Account | None:
    """Return the account of the steps that count; None where kernels were not recorded, or none ran."""
    busy = busy_spans(recording)
    work = [span for _, span in work_of(recording, window)]
    if busy is None or not work:
        return None
    charged = {id(item.sync) for item in found if window.counts(item.sync.step)}
    first, last = min(start for start, _ in work), max(end for _, end in work)
    ours = others = 0
    for sync in recording.syncs:
        cost = costs.get(id(sync))
        if cost is None or cost.idle is None or cost.idle[0] == cost.idle[1]:
            continue
        start, end = cost.idle
        if id(sync) in charged:
            # The idle time after the last wait belongs to the steps too.
            ours += end - start
            last = max(last, end)
        elif first <= start and end <= last:
            others += end - start
    worked = sum(max(0, min(end, last) - max(start, first)) for start, end in busy)
    return Account(worked, ours, max(0, last - first - worked - ours - others))
