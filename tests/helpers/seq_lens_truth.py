"""The true sequence lengths of the `seq-lens` scenario: each step's outcome is applied at once, not late."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from syncwatch_scenarios.seq_lens.async_scheduler import Row, Scheduler, accepted_of, draw_table
from syncwatch_scenarios.seq_lens.traffic import Traffic

SMALL = Traffic(5, 40, 2, 700, (3, 90), (1, 30), arrivals=2, lead_in=0)


def scheduler_of(traffic: Traffic, seed: int) -> Scheduler:
    return Scheduler(traffic, accepted_of(draw_table(traffic, seed), traffic.acceptance), seed)


@dataclass
class Truth:
    """The computed tokens of each slot, and the drafts rejected there in each step of its present request."""

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
        """Apply the outcome of a step: how many drafts of each row were accepted."""
        for row in rows:
            rejected = row.drafts - scheduler.accepted(row)
            self.computed[row.slot] += row.query_len - rejected
            self.rejected[row.slot].append(rejected)


def steps(scheduler: Scheduler, count: int) -> Iterator[tuple[tuple[Row, ...], npt.NDArray[np.int32], Truth]]:
    """Yield the rows of each step, their true lengths, and the `Truth` before the step's outcome is applied."""
    truth = Truth()
    for _ in range(count):
        rows = scheduler.schedule()
        yield rows, truth.lengths(rows), truth
        truth.settle(scheduler, rows)


def violations(
    bound: npt.NDArray[np.int32],
    truth: npt.NDArray[np.int32],
    prefill: npt.NDArray[np.bool_],
    drafts_in_flight: int,
) -> list[str]:
    """Return what is wrong with the bound of one step, a sentence for each of three conditions that it breaks.

    Args:
        bound: int32 [R], without padding.
        truth: int32 [R], the lengths on the GPU.
        prefill: bool [R], whether a row computes a piece of its prompt.
        drafts_in_flight: the most drafts that a row can have in the steps whose outcome the scheduler does not know.
    """
    over = bound.astype(np.int64) - truth
    rules = {
        "the bound is not exact on a prefill row": prefill & (over != 0),
        "the bound is below the truth": over < 0,
        f"the bound is more than {drafts_in_flight} above the truth": over > drafts_in_flight,
    }
    return [f"{rule}: row {int(broken.argmax())}" for rule, broken in rules.items() if broken.any()]
