"""Tells whether the candidate is faster than the baseline, how sure that is, and how fast a step without reads is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from syncwatch.model.report import StepTime, StepTimeComparison, WhatIf
from syncwatch.model.session import Recording, Replay

_SEED = 20260327
_RESAMPLES = 4000
_NS_IN_MS = 1e6

Interval = tuple[float, float]


def step_time(recording: Recording) -> StepTime | None:
    """Return the median step, as `time_of` does; None where no step was timed."""
    return time_of(recording.rounds_ns, modelled=recording.modelled)


def time_of(rounds_ns: Sequence[Sequence[int]], *, modelled: bool) -> StepTime | None:
    """Return the median of the rounds' median steps, or of the steps of a single round; None where there are none.

    The steps of a round are not independent, so that an interval is drawn over rounds; and a ratio of such medians lies
    where its own interval does. The virtual clock is deterministic: repeating it tells nothing, so that its times carry
    no interval.
    """
    rounds = [timed for timed in rounds_ns if timed]
    if not rounds:
        return None
    times = np.array(rounds[0] if len(rounds) == 1 else [np.median(timed) for timed in rounds], dtype=float)
    times /= _NS_IN_MS
    ci95 = None if modelled or times.size < 2 else _interval((times,), np.median, paired=False)
    return StepTime(median=float(np.median(times)), ci95=ci95, modelled=modelled)


def price_overhead(recording: Recording) -> float | None:
    """Return what watching with CUPTI made of the step time, as a ratio; None where either was not taken."""
    honest = step_time(recording)
    if honest is None or not recording.priced_ns or recording.modelled:
        return None
    return float(np.median(recording.priced_ns) / _NS_IN_MS / honest.median)


def compare_steps(
    baseline: Recording, candidate: Recording, outputs_equal: bool | None, *, interleaved: bool = True
) -> StepTimeComparison:
    """Return the candidate against the baseline; no ratio where the outputs differ.

    Args:
        baseline: the earlier or slower one.
        candidate: the other.
        outputs_equal: whether both gave the same bits; None where that was not compared.
        interleaved: whether the rounds of both took turns.
    """
    modelled = baseline.modelled or candidate.modelled
    old, new = step_time(baseline), step_time(candidate)
    ratio: float | None = None
    ci95: Interval | None = None
    comparable = baseline.modelled == candidate.modelled and outputs_equal is not False
    if comparable and old is not None and new is not None and new.median > 0:
        ratio = old.median / new.median
        ci95 = None if modelled else ratio_interval(baseline.rounds_ns, candidate.rounds_ns, interleaved=interleaved)
    return StepTimeComparison(
        baseline=baseline.variant,
        candidate=candidate.variant,
        step_time_ratio=ratio,
        ci95=ci95,
        modelled=modelled,
        verdict=(
            _verdict(ratio, ci95, modelled=modelled, outputs_equal=outputs_equal)
            if baseline.modelled == candidate.modelled
            else "measured against modelled: times not compared"
        ),
        outputs_equal=outputs_equal,
    )


def ratio_interval(
    baseline: Sequence[Sequence[int]], candidate: Sequence[Sequence[int]], *, interleaved: bool = True
) -> Interval | None:
    """Return the bootstrap interval of baseline over candidate; None where there is too little to resample.

    Where rounds are interleaved, a round's two halves met the same clocks and the same neighbours: they are resampled
    as pairs. Those of two runs are resampled each for itself. A single round falls back on its steps.
    """
    if interleaved:
        pairs = [(np.median(old), np.median(new)) for old, new in zip(baseline, candidate, strict=False) if old and new]
        olds, news = (np.array([pair[side] for pair in pairs], dtype=float) for side in (0, 1))
    else:
        olds, news = (np.array([np.median(each) for each in rounds if each]) for rounds in (baseline, candidate))
    if min(olds.size, news.size) > 1:
        return _interval((olds, news), _ratio, paired=interleaved)
    steps = [np.array([time for timed in rounds for time in timed], dtype=float) for rounds in (baseline, candidate)]
    if min(column.size for column in steps) < 2:
        return None
    return _interval(tuple(steps), _ratio, paired=False)


def _ratio(old: Any, new: Any, axis: int = -1) -> Any:
    return np.median(old, axis=axis) / np.median(new, axis=axis)


def _interval(columns: tuple[Any, ...], statistic: Any, *, paired: bool) -> Interval:
    if all(np.ptp(column) == 0 for column in columns):
        point = float(statistic(*columns, axis=-1))
        return point, point
    # scipy.stats takes a second to import; a gate or a report without measured times never needs it.
    from scipy.stats import bootstrap

    found = bootstrap(
        columns,
        statistic,
        paired=paired,
        vectorized=True,
        n_resamples=_RESAMPLES,
        # The percentile interval is defined for a median of few values, where BCa's is not.
        method="percentile",
        random_state=np.random.default_rng(_SEED),
    ).confidence_interval
    return float(found.low), float(found.high)


def _verdict(ratio: float | None, ci95: Interval | None, *, modelled: bool, outputs_equal: bool | None) -> str:
    if outputs_equal is False:
        return "outputs differ: times not compared"
    if ratio is None:
        return "times not measured"
    if modelled:
        word = "no difference" if ratio == 1 else "faster" if ratio > 1 else "slower"
        return f"{word} (modelled)"
    if ci95 is None:
        return "too few steps to tell"
    if ci95[0] <= 1 <= ci95[1]:
        return "no difference shown"
    return "faster" if ratio > 1 else "slower"


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
