"""Answers: how long can each sequence be at most, without asking the GPU? `seq_lens_cpu_upper_bound`.

vLLM #40654 brought the bound, and vLLM #42202 the form that does not drift: the host's mirror of the computed tokens
is written anew from the scheduler before every step. As first merged, the mirror was only ever added to, and every
rejected draft stayed in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
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


def without_rejected(bound: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """Return the exact lengths once the rejected drafts of every step in flight are known on the host.

    Args:
        bound: int32 [R] on the CPU.
        rejected: integers [R] on the CPU, summed over the steps in flight.

    Raises:
        ValueError: if `rejected` is on the GPU, where using it would bring back the wait that the bound avoids.
    """
    if rejected.device.type != "cpu":
        raise ValueError(f"rejected must be on the CPU, but is on {rejected.device}.")
    return bound - rejected.to(bound.dtype)


def violations(
    bound: npt.NDArray[np.int32],
    truth: npt.NDArray[np.int32],
    prefill: npt.NDArray[np.bool_],
    drafts_in_flight: int,
) -> list[str]:
    """Return what is wrong with the bound of one step, a sentence for each rule that it breaks.

    Args:
        bound: int32 [R], without padding.
        truth: int32 [R], the lengths on the GPU.
        prefill: bool [R], whether a row computes a piece of its prompt.
        drafts_in_flight: drafts of a row in all the steps whose outcome the scheduler does not know: k times those.
    """
    over = bound.astype(np.int64) - truth
    rules = {
        "the bound is not exact on a prefill row": prefill & (over != 0),
        "the bound is below the truth": over < 0,
        f"the bound is more than {drafts_in_flight} above the truth": over > drafts_in_flight,
    }
    return [f"{rule}: row {int(broken.argmax())}" for rule, broken in rules.items() if broken.any()]
