"""The losses and samplers that wait for the device, and the operators of torchvision and torchaudio that do."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from syncwatch.model.events import Direction, HostMemory
from syncwatch.sense.virtual.operators.table import (
    WAIT,
    WAIT_DEVICE,
    OpCall,
    RuntimeCall,
    WaitReason,
    blocks,
    read,
    read_pageable,
    upload,
)


@blocks("aten._ctc_loss", reason=WaitReason.UPLOAD, why="uploads lengths and offsets.")
def ctc_loss(call: OpCall) -> Sequence[RuntimeCall]:
    """Return three uploads; what lies on the device was read before, by `ctc_loss` itself."""
    return (upload(8 * call.tensor("log_probs").shape[1]),) * 3


@blocks("aten._ctc_loss_backward", reason=WaitReason.UPLOAD, why="uploads lengths and offsets once more.")
def ctc_loss_backward(call: OpCall) -> Sequence[RuntimeCall]:
    """Return three uploads."""
    return (upload(8 * call.tensor("log_probs").shape[1]),) * 3


@blocks(
    "aten._use_cudnn_ctc_loss", reason=WaitReason.CHECK, why="reads lengths on the device to see whether cuDNN may run."
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


@blocks("torchvision.nms", reason=WaitReason.SIZE, why="counts the boxes that are kept.")
def nms(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the number; up to torchvision 0.21 the overlaps were read and sorted out on the host."""
    return (read(8),) if call.tensor("dets").numel() else ()


@blocks("torchvision.ps_roi_align", reason=WaitReason.SOLVER, why="waits for the device after its kernel.")
def ps_roi_align(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the wait (`ps_roi_align_kernel.cu`), unless there is no region."""
    return (WAIT_DEVICE,) if call.tensor("rois").shape[0] else ()


@blocks(
    "torchaudio.rnnt_loss",
    reason=WaitReason.CHECK,
    why="checks that the longest of logits and targets fill their tensors.",
)
def rnnt_loss(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the reads of three checks."""
    return (read(4),) * 3


@blocks("torchaudio.forced_align", reason=WaitReason.CHECK, why="follows the best path on the host.")
def forced_align(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the reads of two checks, of targets, of the path in pieces and of the last scores, and the upload.

    A piece is copied on a stream of its own, which is waited for before the next, as is the stream of the kernels.
    """
    targets, scores = call.tensor("targets"), call.tensor("log_probs")
    frames, states = scores.shape[1], 2 * targets.shape[1] + 1
    lengths = (read(call.tensor("input_lengths").element_size()), read(call.tensor("target_lengths").element_size()))
    piece = RuntimeCall(Direction.D2H, HostMemory.PAGEABLE, _FRAMES * states, None)
    pieces = (WAIT, WAIT, piece) * -(-frames // _FRAMES)
    labels = read_pageable(targets.numel() * targets.element_size())
    last = read_pageable(2 * states * scores.element_size())
    return (*lengths, labels, *pieces, WAIT, last, upload(frames * targets.element_size()))


_FRAMES = 100
"""Frames whose steps are copied together (`kBackPtrBufferSize`)."""
