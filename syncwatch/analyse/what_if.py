"""Answers: how fast would the step be without its host reads? The ceiling, from steps that replayed them."""

from __future__ import annotations

from syncwatch.analyse.compare import ratio_interval, step_time, time_of
from syncwatch.model.finding import WhatIf
from syncwatch.model.session import Recording, Replay


def what_if(recording: Recording) -> tuple[WhatIf, ...]:
    """Return the ceiling of each replay of `recording`, in the order in which they were taken."""
    return tuple(_ceiling(recording, replay) for replay in recording.replays)


def _ceiling(recording: Recording, replay: Replay) -> WhatIf:
    honest, replayed = step_time(recording), time_of(replay.rounds_ns, modelled=recording.modelled)
    ratio = honest.median / replayed.median if honest and replayed and replayed.median else None
    return WhatIf(
        lines=replay.lines,
        step_ms=replayed,
        step_time_ratio=ratio,
        ci95=None if ratio is None or recording.modelled else ratio_interval(recording.rounds_ns, replay.rounds_ns),
        refused=replay.refused,
    )
