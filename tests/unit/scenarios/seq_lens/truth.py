"""Answers: how long are the sequences really? Every step's outcome is taken in at once, unlike by the scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from syncwatch_scenarios.seq_lens.async_scheduler import Row, Scheduler
from syncwatch_scenarios.seq_lens.traffic import Traffic, accepted_of, draw_table

SMALL = Traffic(5, 40, 2, 700, (3, 90), (1, 30), arrivals=2, lead_in=0)


def scheduler_of(traffic: Traffic, seed: int) -> Scheduler:
    return Scheduler(traffic, accepted_of(draw_table(traffic, seed), traffic.acceptance), seed)


@dataclass
class Truth:
    """The computed tokens of each slot, and what was rejected of each request in each step."""

    computed: dict[int, int] = field(default_factory=dict)
    rejected: dict[int, list[int]] = field(default_factory=dict)

    def lengths(self, rows: tuple[Row, ...]) -> npt.NDArray[np.int32]:
        """Return the lengths after the tokens of this step, int32 [R]."""
        for row in rows:
            if row.begins:
                self.computed[row.slot] = row.computed
                self.rejected[row.slot] = []
        return np.array([self.computed[row.slot] + row.query_len for row in rows], dtype=np.int32)

    def settle(self, scheduler: Scheduler, rows: tuple[Row, ...]) -> None:
        """Take in what became of the drafts."""
        for row in rows:
            rejected = row.drafts - scheduler.accepted(row)
            self.computed[row.slot] += row.query_len - rejected
            self.rejected[row.slot].append(rejected)


def steps(scheduler: Scheduler, count: int) -> Iterator[tuple[tuple[Row, ...], npt.NDArray[np.int32], Truth]]:
    """Yield the rows of each step, their true lengths, and the truth before the step's outcome."""
    truth = Truth()
    for _ in range(count):
        rows = scheduler.schedule()
        yield rows, truth.lengths(rows), truth
        truth.settle(scheduler, rows)
