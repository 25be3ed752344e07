"""Picks the NVTX range that stands for an unknown line: the innermost that is the user's, without numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

_TORCH_PREFIX = "aten::"
"""Ranges that `torch.autograd.profiler.emit_nvtx` puts around each operator; as frames of torch, they are nobody's."""
_TORCH_OWN = ("Optimizer.", "enumerate(DataLoader)", "DataParallel.", "DistributedDataParallel.", "FSDP", "## ")
"""Ranges that torch puts around its own parts; as the recorder hears them, they name no code of the user's."""
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|#?\d+")
"""Addresses, `layer 7`, `ProfilerStep#12`: what differs from step to step and from run to run."""


def range_of(names: Sequence[str], *, heard: bool) -> str | None:
    """Return the innermost of the nested ranges `names`, outermost first, with `#` for each number in it.

    Ranges around torch's operators count only where there are no others; None where there are none at all.

    Args:
        names: of the ranges.
        heard: whether we heard them ourselves: ranges of torch's own parts then do not count.
    """
    if heard:
        names = [name for name in names if not name.startswith(_TORCH_OWN)]
    if not names:
        return None
    users = (name for name in reversed(names) if not name.startswith(_TORCH_PREFIX))
    return _NUMBER.sub("#", next(users, names[-1]))
