"""The operators of torchvision and torchaudio that wait for the device."""

from __future__ import annotations

from collections.abc import Sequence

from syncwatch.model.events import Direction, HostMemory
from syncwatch.sense.virtual.operators.table import OpCall, Reason, blocks
from syncwatch.sense.virtual.operators.waits_and_copies import (
    WAIT,
    WAIT_DEVICE,
    RuntimeCall,
    read,
    read_pageable,
    upload,
)


@blocks("torchvision.nms", reason=Reason.SIZE, why="counts the boxes that are kept.")
def nms(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the number; up to torchvision 0.21 the overlaps were read and sorted out on the host."""
    return (read(8),) if call.tensor("dets").numel() else ()


@blocks("torchvision.ps_roi_align", reason=Reason.SOLVER, why="waits for the device after its kernel.")
def ps_roi_align(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the wait (`ps_roi_align_kernel.cu`), unless there is no region."""
    return (WAIT_DEVICE,) if call.tensor("rois").shape[0] else ()


@blocks(
    "torchaudio.rnnt_loss",
    reason=Reason.CHECK,
    why="checks that the longest of logits and targets fill their tensors.",
)
def rnnt_loss(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the reads of three checks."""
    return (read(4),) * 3


@blocks("torchaudio.forced_align", reason=Reason.CHECK, why="follows the best path on the host.")
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
