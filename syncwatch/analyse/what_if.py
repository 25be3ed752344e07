"""How fast the step would be without its host reads: the ceiling, from steps that replayed them."""

from __future__ import annotations

from collections.abc import Sequence

from syncwatch.analyse.compare import ratio_interval, time_of
from syncwatch.model.finding import WhatIf
from syncwatch.model.session import Recording, Replay


def what_if(recording: Recording) -> tuple[WhatIf, ...]:
    """Return the ceiling of each replay of `recording`, in the order in which they were taken.

    They are held against the step as it is, timed in the same rounds.
    """
    return tuple(_ceiling(each, recording.rounds_ns, modelled=recording.modelled) for each in recording.replays)


def _ceiling(replay: Replay, as_it_is: Sequence[Sequence[int]], *, modelled: bool) -> WhatIf:
    before, after = time_of(as_it_is, modelled=modelled), time_of(replay.rounds_ns, modelled=modelled)
    ratio = before.median / after.median if before and after and after.median else None
    return WhatIf(
        lines=replay.lines,
        step_ms=after,
        step_time_ratio=ratio,
        ci95=None if ratio is None or modelled else ratio_interval(as_it_is, replay.rounds_ns),
        refused=replay.refused,
    )
