"""Thins a timeline that is too large to draw. Nothing that waits is left out, as long as there is room.

The first measured steps stay as they are. Elsewhere neighbours in a lane are merged, those with the smallest gaps
first, never across a step, a wait or a bubble, so that the shape of the step stays. The page says what was done.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from syncwatch.model.analysis import AnalysedWait
from syncwatch.model.session import Recording
from syncwatch.report import text
from syncwatch.report.html.lanes import BlockStyle, Lane, LaneBlock, LaneKind

MAX_LANES = 24
"""Of one recording; those with the fewest events are left out."""
_WAITS_SHARE = 0.5
"""The part of the budget that waits may take."""
_RANGES_SHARE = 0.25
"""The part of the room for blocks up to which ranges are left as they are."""


@dataclass(frozen=True, slots=True)
class DrawnRecording:
    """What is drawn of one recording."""

    lanes: tuple[Lane, ...]
    waits: tuple[AnalysedWait, ...]
    """Those with a time."""
    notes: tuple[str, ...]
    """What was left out or merged, a sentence each."""

    @property
    def events(self) -> int:
        """Return how many blocks and waits are drawn."""
        return sum(len(lane.blocks) for lane in self.lanes) + len(self.waits)


def thin_out(recording: Recording, lanes: Sequence[Lane], waits: Sequence[AnalysedWait], budget: int) -> DrawnRecording:
    """Return what is drawn of `recording` with about `budget` events."""
    notes = []
    timed = [wait for wait in waits if wait.sync.start_ns is not None and wait.sync.end_ns is not None]
    if len(timed) < len(waits):
        notes.append(f"{_they(len(waits) - len(timed), 'wait')} no time, and cannot be drawn.")
    kept_waits = timed[: max(1, int(budget * _WAITS_SHARE))]
    if len(kept_waits) < len(timed):
        notes.append(f"Only the first {len(kept_waits):,} of {len(timed):,} waits are drawn.")
    kept = _busiest(lanes)
    if len(kept) < len(lanes):
        notes.append(f"{text.plural(len(lanes) - len(kept), 'lane')} with the fewest events left out.")
    deep = sum(lane.too_deep for lane in kept)
    if deep:
        notes.append(f"{text.plural(deep, 'range')} nested deeper than the rows drawn left out.")
    room = budget - len(kept_waits)
    total = sum(len(lane.blocks) for lane in kept)
    if total > room:
        kept, sentence = _merged(recording, kept, kept_waits, room)
        notes.append(sentence)
    return DrawnRecording(tuple(kept), tuple(kept_waits), tuple(notes))


def _they(count: int, noun: str) -> str:
    return f"{text.plural(count, noun)} {'has' if count == 1 else 'have'}"


def _busiest(lanes: Sequence[Lane]) -> list[Lane]:
    fullest = sorted(range(len(lanes)), key=lambda index: -len(lanes[index].blocks))[:MAX_LANES]
    return [lanes[index] for index in sorted(fullest)]


def _merged(
    recording: Recording, lanes: Sequence[Lane], waits: Sequence[AnalysedWait], room: int
) -> tuple[list[Lane], str]:
    """Return `lanes` with about `room` blocks, and what was done."""
    total = sum(len(lane.blocks) for lane in lanes)
    merging = _Merging.of(recording, lanes, waits, room)
    result = [merging.lane(lane) for lane in lanes]
    drawn = sum(len(lane.blocks) for lane in result)
    merged = f"merged into blocks that say how many they hold: {drawn:,} blocks stand for {total:,} events."
    if not merging.steps:
        return result, f"Neighbouring events are {merged}"
    return result, f"Outside the first {text.plural(merging.steps, 'measured step')}, neighbouring events are {merged}"


@dataclass(frozen=True, slots=True)
class _Merging:
    """Which neighbours become one."""

    whole: tuple[int, int]
    """The span in nanoseconds in which nothing is merged."""
    steps: int
    """How many measured steps that are."""
    barriers: Sequence[int]
    """Moments that no block may cross, in order."""
    limit_ns: int
    """The largest gap that is closed."""
    longest: int
    """The most events that one block may hold."""
    spares_ranges: bool

    @classmethod
    def of(cls, recording: Recording, lanes: Sequence[Lane], waits: Sequence[AnalysedWait], room: int) -> _Merging:
        """Return what leaves about `room` blocks.

        Half of what remains is for the gaps that stay, half for cutting long runs, where all gaps are alike.
        """
        ranges = sum(len(lane.blocks) for lane in lanes if lane.kind is LaneKind.RANGES)
        whole, steps, held = _detailed(recording, lanes, room // 2)
        merging = cls(whole, steps, _barriers(recording, waits), -1, 1, spares_ranges=ranges <= room * _RANGES_SHARE)
        gaps = merging.gaps(lanes)
        left = max(1, room - held - (ranges if merging.spares_ranges else 0))
        if len(gaps) < sum(len(lane.blocks) for lane in lanes) - room:
            # Waits so close that keeping them apart would leave more than there is room for.
            merging = replace(merging, barriers=())
            gaps = merging.gaps(lanes)
        kept = max(1, len(gaps) - left // 2)
        return replace(merging, limit_ns=gaps[kept - 1] if gaps else -1, longest=2 + 2 * len(gaps) // left)

    def gaps(self, lanes: Sequence[Lane]) -> list[int]:
        """Return the gaps in nanoseconds between neighbours that may become one, the smallest first."""
        return sorted(
            max(0, after.start_ns - before.end_ns)
            for lane in lanes
            if self._touches(lane)
            for row in _rows(lane)
            for before, after in pairwise(row)
            if self._may_join(before, after)
        )

    def lane(self, lane: Lane) -> Lane:
        """Return `lane` with its neighbours merged."""
        if not self._touches(lane):
            return lane
        result: list[LaneBlock] = []
        for row in _rows(lane):
            run = row[:1]
            for before, after in pairwise(row):
                near = max(0, after.start_ns - before.end_ns) <= self.limit_ns and len(run) < self.longest
                if not (near and self._may_join(before, after)):
                    result.append(_one(run))
                    run = []
                run.append(after)
            if run:
                result.append(_one(run))
        return replace(lane, blocks=tuple(sorted(result)))

    def _touches(self, lane: Lane) -> bool:
        return lane.kind is not LaneKind.RANGES or not self.spares_ranges

    def _may_join(self, before: LaneBlock, after: LaneBlock) -> bool:
        first, last = self.whole
        if first <= before.start_ns < last or first <= after.start_ns < last:
            return False
        return bisect_right(self.barriers, before.start_ns) == bisect_right(self.barriers, after.start_ns)


def _barriers(recording: Recording, waits: Sequence[AnalysedWait]) -> list[int]:
    """Return where waits, bubbles and steps begin and bubbles end, in order."""
    steps = {step.start_ns for step in recording.steps}
    return sorted(steps.union(edge for wait in waits for edge in _edges(wait)))


def _edges(wait: AnalysedWait) -> tuple[int, ...]:
    start = wait.sync.start_ns or 0
    return (start,) if wait.bubble is None or wait.bubble[0] == wait.bubble[1] else (start, *wait.bubble)


def _detailed(recording: Recording, lanes: Sequence[Lane], room: int) -> tuple[tuple[int, int], int, int]:
    """Return the span of the first measured steps that hold at most `room` blocks, how many, and how many blocks."""
    measured = [step for step in recording.steps if not step.warmup]
    starts = [[block.start_ns for block in lane.blocks] for lane in lanes]
    found = ((0, 0), 0, 0)
    for number, step in enumerate(measured, 1):
        reached = (measured[0].start_ns, step.end_ns)
        held = sum(bisect_left(each, reached[1]) - bisect_left(each, reached[0]) for each in starts)
        if held > room:
            break
        found = (reached, number, held)
    return found


def _rows(lane: Lane) -> list[list[LaneBlock]]:
    """Return the blocks of `lane` by the row they are drawn in."""
    rows: list[list[LaneBlock]] = [[] for _ in range(lane.depth)]
    for block in lane.blocks:
        rows[block.row].append(block)
    return rows


def _one(run: Sequence[LaneBlock]) -> LaneBlock:
    """Return `run` as one block that says how many it holds; a block alone as it is."""
    if len(run) == 1:
        return run[0]
    looks = {block.look for block in run}
    noun = _NOUNS.get(run[0].look, "copies") if len(looks) == 1 else "events"
    return LaneBlock(
        start_ns=run[0].start_ns,
        end_ns=max(block.end_ns for block in run),
        name=f"{len(run):,} {noun}",
        look=BlockStyle.MERGED,
        row=run[0].row,
        events=len(run),
        busy_ns=sum(block.end_ns - block.start_ns for block in run),
    )


_NOUNS = {
    BlockStyle.KERNEL: "kernels",
    BlockStyle.MEMSET: "memsets",
    BlockStyle.CALL: "calls",
    BlockStyle.RANGE: "ranges",
}
