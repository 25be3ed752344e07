"""Says what a step would gain without the waits of each line; the replay must first give the step as it was."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from syncwatch.analyse.replay.build import build
from syncwatch.analyse.replay.graph import Graph
from syncwatch.analyse.replay.items import items_of
from syncwatch.analyse.replay.run import Replayed, replay
from syncwatch.analyse.sites import GainFigures, SiteKey, SiteNumbers, number_sites
from syncwatch.analyse.timeline import CountedSteps, begin_of, end_of
from syncwatch.model.analysis import AnalysedWait
from syncwatch.model.events import Step
from syncwatch.model.report import ReplayCheck, SharedGain
from syncwatch.model.session import Recording

WITHIN_PERMILLE = 30
"""By how much the replayed step may differ from the recorded one before no gain is stated."""
MOST_CALLS = 40_000
"""A longer recording is replayed in part: its first steps that count, and never fewer than `_FEWEST_STEPS`."""
MOST_WORK = 2_000_000
"""Calls replayed for all sites together; where there are so many sites, fewer steps do."""
_FEWEST_STEPS = 3
_LITTLE_PERMILLE, _LITTLE_US = 10, 5.0
"""A gain below this part of the step, or below so many microseconds, is little: others are asked for."""
_SLOWEST_PERMILLE, _FASTEST_PERMILLE = 1200, 500
"""How far the host's own time may be scaled to meet the step that was timed with nothing attached."""
_LAUNCH_IN_PROGRAMS = 24, 10
"""What watching adds to a launch of a program, over what it adds where nothing else is in the host's caches.

Fitted on an H200: in three runs of 82 programs (benchmarks/gains.py) gains came out best with 1.6 to 2.0 us a launch,
where 0.6 to 0.8 us had been measured at the start.
"""
_SEED, _RESAMPLES = 20261122, 1000
_US = 1000.0


@dataclass(frozen=True, slots=True)
class Gains:
    """What the waits of one recording cost."""

    check: ReplayCheck
    by_site: Mapping[SiteKey, GainFigures] = field(default_factory=dict)
    together_us: float | None = None
    """Microseconds a step without any implicit wait."""


def gains_of(waits: Sequence[AnalysedWait], recording: Recording, window: CountedSteps) -> Gains:
    """Return what a step of `recording` would gain without each of its sites, and without all implicit ones.

    Args:
        waits: each with its line.
        recording: where they are from.
        window: the steps that count.
    """
    steps = _steps(recording, window)
    numbers = number_sites(waits, window)
    # Where waits are counted and there is none, there is nothing to gain, replayed or not.
    together = 0.0 if steps and not numbers.implicit and recording.coverage.seen is not None else None
    why = _lacking(recording, steps)
    if why is not None:
        return Gains(ReplayCheck(0, None, None, why), together_us=together)
    graph = _graph_of(recording, numbers, steps)
    if not graph.works or graph.recorded_ns[-1] <= 0:
        why = "No gain is stated: the GPU had nothing to do in the steps."
        return Gains(ReplayCheck(0, None, None, why), together_us=together)
    return _Replays(graph, numbers, recording).gains()


def _steps(recording: Recording, window: CountedSteps) -> tuple[Step, ...]:
    """Return the steps that count; the whole run is one where none was marked."""
    if window.measured is not None:
        return tuple(sorted((step for step in recording.steps if not step.warmup), key=lambda step: step.start_ns))
    begin, end = begin_of(recording), end_of(recording)
    return () if begin is None else (Step(0, False, begin, end),)


def _lacking(recording: Recording, steps: Sequence[Step]) -> str | None:
    """Return why `recording` cannot be replayed, a sentence, or None."""
    if not steps:
        return "No gain is stated: no step was measured."
    if recording.kernels is None or recording.copies is None:
        return "No gain is stated: what the GPU did was not recorded."
    if any(each.start_ns is None for each in recording.syncs):
        return "No gain is stated: some waits have no time."
    if not recording.kernels and not recording.copies:
        return "No gain is stated: the GPU had nothing to do."
    if recording.kernels and all(each.call is None for each in recording.kernels[:_LOOKED_AT]):
        return "No gain is stated: the calls that launched the kernels were not recorded."
    if any(one.end_ns > next_one.start_ns for one, next_one in pairwise(steps)):
        return "No gain is stated: steps overlap, so that none of them has a time of its own."
    return None


_LOOKED_AT = 100


def _graph_of(recording: Recording, numbers: SiteNumbers, steps: Sequence[Step]) -> Graph:
    """Return the graph of as many of `steps` as can be replayed for every site in short time."""
    before = [step.start_ns for step in recording.steps if step.end_ns <= steps[0].start_ns]
    calls = len(recording.syncs) + len(recording.kernels or ()) + len(recording.copies or ())
    most = min(MOST_CALLS, MOST_WORK // (2 * len(numbers.lines) + 4))
    kept = steps if calls <= most else steps[: max(_FEWEST_STEPS, len(steps) * most // calls)]
    items = items_of(recording, numbers.of_waits, kept, max(before, default=steps[0].start_ns))
    knows_events = recording.event_calls is not None
    times, of = _LAUNCH_IN_PROGRAMS
    return build(items, len(kept), knows_events=knows_events, launch_watch=recording.launch_watch_ns * times // of)


@dataclass(slots=True)
class _Replays:
    """The replays of one graph."""

    graph: Graph
    numbers: SiteNumbers
    recording: Recording
    scale: int = 1000
    base: Replayed = field(init=False)

    def gains(self) -> Gains:
        """Return the gains, or why there are none."""
        graph, count = self.graph, self.graph.steps
        recorded, replayed = graph.recorded_ns[-1], replay(graph, watched=True).total_ns
        recorded_us, replayed_us = recorded / count / _US, replayed / count / _US
        if abs(replayed - recorded) * 1000 > WITHIN_PERMILLE * recorded:
            off = 100 * abs(replayed - recorded) / max(1, recorded)
            why = (
                f"No gain is stated: to replay the recording with all its waits gives a step of {replayed_us:,.0f} us "
                f"instead of {recorded_us:,.0f} ({off:.0f} % off)."
            )
            return Gains(ReplayCheck(count, recorded_us, replayed_us, why))
        self.scale = self._calibrated()
        self.base = self._without(())
        implicit = self.numbers.implicit
        together = self._changed(self._without(implicit)) if implicit else np.zeros(count)
        check = ReplayCheck(count, recorded_us, replayed_us, None, self._interval(together))
        # Of a long recording some steps are replayed: of a line that does not wait in them nothing is known.
        seen = {call.site for call in graph.calls}
        alone = {site: self._without((site,)) for site in range(len(self.numbers.lines)) if site in seen}
        shared = self._shared({site: self._us(each) for site, each in alone.items()})
        by_site = {
            key: self._figures(site, alone[site], shared) for key, site in self.numbers.places.items() if site in seen
        }
        return Gains(check, by_site, float(together.mean()) if implicit <= seen else None)

    def _without(self, sites: Collection[int]) -> Replayed:
        return replay(self.graph, sites, own_permille=self.scale)

    def _changed(self, without: Replayed) -> NDArray[np.float64]:
        """Return by how many microseconds each step is shorter."""
        shorter = np.array(self.base.complete_ns) - np.array(without.complete_ns)
        changed: NDArray[np.float64] = np.diff(shorter, prepend=0) / _US
        return changed

    def _us(self, without: Replayed) -> float:
        return float(self._changed(without).mean())

    def _figures(self, site: int, without: Replayed, shared: Mapping[int, SharedGain]) -> GainFigures:
        changed = self._changed(without)
        longer = {
            other: spent - self.base.waited_ns.get(other, 0)
            for other, spent in without.waited_ns.items()
            if other not in (site, -1)
        }
        moves_to = max(longer, key=lambda other: longer[other], default=None)
        moved = 0.0 if moves_to is None else longer[moves_to] / self.graph.steps / _US
        takes_over = moves_to is not None and moved >= self._little_us()
        return GainFigures(
            us=float(changed.mean()),
            ci_us=self._interval(changed),
            shared=shared.get(site),
            moves_to=self.numbers.lines[moves_to] if takes_over and moves_to is not None else None,
            moves_us=moved if takes_over else None,
        )

    def _little_us(self) -> float:
        return max(_LITTLE_US, self.base.total_ns / self.graph.steps / _US * _LITTLE_PERMILLE / 1000)

    def _shared(self, alone: Mapping[int, float]) -> Mapping[int, SharedGain]:
        """Return, of implicit sites that gain more together than each for itself, what they gain together."""
        little, implicit = self._little_us(), self.numbers.implicit.intersection(alone)
        if len(implicit) < 2:
            return {}
        everything = self._us(self._without(implicit))
        missed = {site: everything - self._us(self._without(implicit - {site})) for site in implicit}
        needed = sorted(site for site in implicit if missed[site] >= max(0.0, alone[site]) + little)
        small = sorted(site for site in implicit if alone[site] < little)
        if not needed and small:
            # Each of them is enough to keep the others' time: none is needed alone, all of them are.
            needed = small if everything - self._us(self._without(implicit.difference(small))) >= little else []
        if len(needed) < 2:
            return {}
        gain = self._us(self._without(needed))
        more = gain - sum(max(0.0, alone[site]) for site in needed)
        return {site: SharedGain(len(needed) - 1, gain) for site in needed} if more >= little else {}

    def _calibrated(self) -> int:
        """Return by how much the host's own time is scaled, in thousandths, to meet the steps that were timed plain.

        1000 where none was, and where no scale within the limits meets them.
        """
        timed = [time for each in self.recording.rounds_ns for time in each]
        if not timed or self.recording.modelled:
            return 1000
        target = int(np.median(timed)) * self.graph.steps
        low, high = _FASTEST_PERMILLE, _SLOWEST_PERMILLE
        if not self._scaled(low) <= target <= self._scaled(high):
            return 1000
        while high - low > 4:
            middle = (low + high) // 2
            low, high = (middle, high) if self._scaled(middle) < target else (low, middle)
        return (low + high) // 2

    def _scaled(self, permille: int) -> int:
        return replay(self.graph, own_permille=permille).total_ns

    def _interval(self, values: NDArray[np.float64]) -> tuple[float, float] | None:
        """Return the bootstrap 95 % interval of the mean; scipy takes a second to import, and does no more here."""
        if self.recording.modelled or len(values) < 2:
            return None
        drawn = np.random.default_rng(_SEED).integers(0, len(values), (_RESAMPLES, len(values)))
        low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
        return float(low), float(high)
