"""Answers: which losses and samplers wait?"""

from __future__ import annotations

from collections.abc import Sequence

from syncwatch.sense.virtual.blocking_ops import OpCall, Reason, blocks
from syncwatch.sense.virtual.runtime_calls import RuntimeCall, read_pageable, upload


@blocks("aten._ctc_loss", reason=Reason.UPLOAD, why="uploads lengths and offsets, and reads the target lengths.")
def ctc_loss(call: OpCall) -> Sequence[RuntimeCall]:
    """Return one read and three uploads; lengths on the device were read before, by `ctc_loss` (see `branches.py`)."""
    lengths = 8 * call.tensor("log_probs").shape[1]
    return read_pageable(lengths), upload(lengths), upload(lengths), upload(lengths)


@blocks("aten._ctc_loss_backward", reason=Reason.UPLOAD, why="uploads lengths and offsets once more.")
def ctc_loss_backward(call: OpCall) -> Sequence[RuntimeCall]:
    """Return three uploads."""
    return (upload(8 * call.tensor("log_probs").shape[1]),) * 3
