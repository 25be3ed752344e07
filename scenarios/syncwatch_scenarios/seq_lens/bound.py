"""Bounds the length of each sequence from above without asking the GPU: `seq_lens_cpu_upper_bound`.

vLLM #40654 brought the bound, and vLLM #42202 the form that does not drift: the host's mirror of the computed tokens
is written anew from the scheduler before every step. As first merged, the mirror was only ever added to, and every
rejected draft stayed in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from syncwatch_scenarios.seq_lens.async_scheduler import Row


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
