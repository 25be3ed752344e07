"""The losses and samplers that wait for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from syncwatch.sense.virtual.operators.table import OpCall, Reason, blocks
from syncwatch.sense.virtual.operators.waits_and_copies import RuntimeCall, read_pageable, upload


@blocks("aten._ctc_loss", reason=Reason.UPLOAD, why="uploads lengths and offsets.")
def ctc_loss(call: OpCall) -> Sequence[RuntimeCall]:
    """Return three uploads; what lies on the device was read before, by `ctc_loss` itself."""
    return (upload(8 * call.tensor("log_probs").shape[1]),) * 3


@blocks("aten._ctc_loss_backward", reason=Reason.UPLOAD, why="uploads lengths and offsets once more.")
def ctc_loss_backward(call: OpCall) -> Sequence[RuntimeCall]:
    """Return three uploads."""
    return (upload(8 * call.tensor("log_probs").shape[1]),) * 3


@blocks(
    "aten._use_cudnn_ctc_loss", reason=Reason.CHECK, why="reads lengths on the device to see whether cuDNN may run."
)
def use_cudnn(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the reads of the lengths: once, and once more for each sequence until one is too long for cuDNN."""
    inputs, targets = call.get("input_lengths"), call.get("target_lengths")
    if not (isinstance(inputs, torch.Tensor) and isinstance(targets, torch.Tensor)) or not _fits_cudnn(call):
        return ()
    read_targets = (read_pageable(8 * targets.numel()),) if call.resident("target_lengths") else ()
    read_inputs = (read_pageable(8 * inputs.numel()),) if call.resident("input_lengths") else ()
    calls = [*read_targets]
    for frames, letters in zip(inputs.cpu().tolist(), targets.cpu().tolist(), strict=False):
        calls += [*read_inputs, *read_targets]
        if letters >= _LONGEST or letters > frames:
            break
    return calls


def _fits_cudnn(call: OpCall) -> bool:
    """Follow `_use_cudnn_ctc_loss_tensor`."""
    scores, targets = call.tensor("log_probs"), call.tensor("targets")
    lengths = (call.tensor("input_lengths"), call.tensor("target_lengths"))
    return (
        call.get("blank") == 0
        and (targets.dim(), scores.dim()) == (1, 3)
        and scores.dtype is torch.float32
        and targets.is_contiguous()
        and all(each.dtype is torch.int32 for each in (targets, *lengths))
    )


_LONGEST = 256
"""Letters of a target that cuDNN takes."""
