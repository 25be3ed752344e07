"""Where the GPU's time of the measured steps went: busy, idle after a sync, idle for want of launches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from syncwatch.analyse.timeline import Timeline, Window, extents
from syncwatch.model.session import Recording
from syncwatch.model.wait import Span, Wait


@dataclass(frozen=True, slots=True)
class Account:
    """The measured steps on the GPUs, in nanoseconds: `span_ns` is the sum of the other three."""

    busy_ns: int
    idle_ns: int
    """Charged to the synchronizations of the measured steps."""
    gap_ns: int
    """Charged to none: the host was too slow to launch."""
    gpus: int
    """How many GPUs this is summed over."""

    @property
    def span_ns(self) -> int:
        """Return the time from the first work to the last, without what the runner's own waits idled away."""
        return self.busy_ns + self.idle_ns + self.gap_ns


def account_of(waits: Iterable[Wait], recording: Recording, window: Window, timeline: Timeline) -> Account | None:
    """Return the account of the steps that count, summed over the GPUs that worked in them.

    None where kernels were not recorded, or none ran.
    """
    counted = extents(recording, window)
    if timeline.gpus is None or not counted:
        return None
    bubbles: dict[int, list[tuple[bool, Span]]] = defaultdict(list)
    for wait in waits:
        idle = wait.idle
        if idle is not None and idle[0] < idle[1]:
            charged = wait.finding is not None and window.counts(wait.sync.step)
            bubbles[wait.sync.device].append((charged, idle))
    accounts = [_of_gpu(timeline.gpus[gpu], span, bubbles[gpu]) for gpu, span in counted.items()]
    return Account(
        busy_ns=sum(each.busy_ns for each in accounts),
        idle_ns=sum(each.idle_ns for each in accounts),
        gap_ns=sum(each.gap_ns for each in accounts),
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
