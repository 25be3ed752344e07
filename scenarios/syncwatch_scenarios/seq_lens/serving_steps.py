"""Takes a serving loop from step to step: the scheduler, mirror and device states of one variant."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from syncwatch_kernels.gdn.staging import upload

from syncwatch import annotate
from syncwatch_scenarios.seq_lens.async_scheduler import Scheduler, accepted_of, draw_table
from syncwatch_scenarios.seq_lens.batch import SeqBatch, SlotStates, assemble, padded_rows, verify
from syncwatch_scenarios.seq_lens.bound import ComputedMirror
from syncwatch_scenarios.seq_lens.traffic import Traffic


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
