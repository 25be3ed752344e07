"""What calls and work of a recording cost where nothing held them: stands in where a replay needs what was not seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

from syncwatch.analyse.replay.items import Item, Started, Stream
from syncwatch.model.events import SyncKind

LATENCY_NS, GAP_NS, WAKE_NS, COPY_CALL_NS = 5_000, 1_000, 5_000, 5_000
"""For a recording that shows none of them; measured on an H200 (driver 580, torch 2.11)."""


@dataclass(frozen=True, slots=True)
class Typical:
    """Medians of one recording, in ns."""

    kernel_latency: int
    copy_latency: int
    gap: int
    """Between one work and the next of its stream, where both were queued."""
    wake: int
    """From the end of what a wait was for to its return."""
    wait_call: int
    """A wait that had nothing to wait for."""
    copy_call: int
    """A copy that nobody waits for."""
    launch: int

    def latency(self, work: Started) -> int:
        """Return how long after the begin of its call a work of this kind begins on an idle stream."""
        return self.kernel_latency if work.copy is None else self.copy_latency


def typical_of(items: Sequence[Item]) -> Typical:
    """Return the medians of `items`, which are in order."""
    seen: dict[str, list[int]] = defaultdict(list)
    ends: dict[Stream, int] = {}
    for item in items:
        for work in item.works:
            kind = "kernel" if work.copy is None else "copy"
            free = ends.get(work.stream)
            if free is None or free <= item.start:
                seen[kind].append(max(0, work.start - item.start))
            elif free > item.start + LATENCY_NS:
                seen["gap"].append(work.start - free)
            ends[work.stream] = max(work.end, free or work.end)
        length = item.end - item.start
        if item.sync is not None and item.sync.kind not in (SyncKind.COPY, SyncKind.ALLOCATION):
            done = max((end for end in ends.values() if end <= item.end), default=None)
            if done is not None and done > item.start:
                seen["wake"].append(item.end - done)
            elif done is not None:
                seen["wait"].append(length)
        elif item.works and item.sync is None:
            copy = item.works[0].copy
            if copy is None:
                seen["launch"].append(length)
            elif copy.blocking is False:
                seen["copy call"].append(length)
    return Typical(
        kernel_latency=_lower_quarter(seen["kernel"]),
        copy_latency=_lower_quarter(seen["copy"]),
        gap=_median(seen["gap"], GAP_NS),
        wake=_median(seen["wake"], WAKE_NS),
        wait_call=min(seen["wait"], default=GAP_NS),
        copy_call=_median(seen["copy call"], COPY_CALL_NS),
        launch=_median(seen["launch"], LATENCY_NS),
    )


def _lower_quarter(latencies: list[int]) -> int:
    """Return one that nothing held: of work that another stream's event held, the latency is longer."""
    return sorted(latencies)[len(latencies) // 4] if latencies else LATENCY_NS


def _median(numbers: Sequence[int], otherwise: int) -> int:
    return median_low(numbers) if numbers else otherwise
