"""Takes a serving loop from step to step: the scheduler, the bounds that the host knows, and the device states.

vLLM #40654 brought the bound, and vLLM #42202 the form that does not drift: the host's mirror of the computed tokens
is written anew from the scheduler before every step. As first merged, the mirror was only ever added to, and every
rejected draft stayed in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from syncwatch_kernels.gdn.index import upload

from syncwatch import annotate
from syncwatch_scenarios.seq_lens.async_scheduler import Row, Scheduler, accepted_of, draw_table
from syncwatch_scenarios.seq_lens.batch import SeqBatch, SlotStates, assemble, padded_rows, verify
from syncwatch_scenarios.seq_lens.traffic import Traffic


class ComputedMirror:
    """The host's count of computed tokens, one for each slot.

    Args:
        slots: how many there are.
        refreshed: whether it is written from the scheduler before every step; if not, it drifts.
    """

    def __init__(self, slots: int, *, refreshed: bool) -> None:
        self._computed = np.zeros(slots, dtype=np.int64)
        self._refreshed = refreshed

    def upper_bound(self, rows: Sequence[Row], padded: int) -> torch.Tensor:
        """Return the bound of a step that is about to run, int32 [padded] on the CPU; 0 on padding."""
        for row in rows:
            if self._refreshed or row.begins:
                self._computed[row.slot] = row.computed
        slots = [row.slot for row in rows]
        scheduled = [row.query_len for row in rows]
        bound = np.zeros(padded, dtype=np.int32)
        bound[: len(rows)] = self._computed[slots] + scheduled
        if not self._refreshed:
            self._computed[slots] += scheduled
        return torch.from_numpy(bound)


@dataclass(frozen=True, slots=True)
class HostLengths:
    """What a variant knows of the lengths without asking the device."""

    bounded: bool
    """Whether it has an upper bound; if not, every consumer asks."""
    refreshed: bool
    """Whether the bound is written from the scheduler before every step."""


class Serving:
    """The loop of one variant, one step after the other.

    Args:
        traffic: what is served.
        seed: of the requests.
        states: the layout of the cache; the tokens computed are this loop's own.
        lengths: what the host knows.
    """

    def __init__(self, traffic: Traffic, seed: int, states: SlotStates, lengths: HostLengths) -> None:
        self._acceptance = traffic.acceptance
        self._bounded = lengths.bounded
        self._scheduler = Scheduler(traffic, accepted_of(draw_table(traffic, seed), traffic.acceptance), seed)
        self._mirror = ComputedMirror(traffic.requests, refreshed=lengths.refreshed)
        for _ in range(traffic.lead_in):
            rows = self._scheduler.schedule()
            self._mirror.upper_bound(rows, len(rows))
        # From here on the device decides; it begins with what the scheduler knows of every step so far.
        self._scheduler.learn(0)
        computed = np.zeros(traffic.requests + 1, dtype=np.int32)
        for request in self._scheduler.running:
            computed[request.slot] = request.computed
        self._states = replace(states, computed=upload(torch.from_numpy(computed), states.computed.device))
        self.steps = 0
        """Steps that have begun."""

    def next_batch(self) -> SeqBatch:
        """Schedule a step and enqueue what the device needs of it."""
        self.steps += 1
        with annotate("schedule"):
            rows = self._scheduler.schedule()
            bound = self._mirror.upper_bound(rows, padded_rows(len(rows))) if self._bounded else None
        with annotate("assemble batch"):
            return assemble(rows, self._states, bound, self._states.computed.device)

    def verify(self, batch: SeqBatch) -> torch.Tensor:
        """Enqueue the verification of a step's drafts; see `seq_lens.batch.verify`."""
        return verify(batch, self._acceptance)
