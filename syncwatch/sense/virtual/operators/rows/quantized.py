"""The quantization that waits, where scales, zero points or ranges lie on the device and the host needs them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from syncwatch.sense.virtual.operators.table import OpCall, Reason, RuntimeCall, blocks, read, upload

_BOOL = 1


@blocks(
    "aten.quantize_per_channel", reason=Reason.CHECK, why="checks that every zero point fits the type, on both sides."
)
def per_channel(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the reads of both verdicts; scales or zero points on the host are uploaded before."""
    host = [call.tensor(name) for name in ("scales", "zero_points") if not call.resident(name)]
    return (*(upload(8 * each.numel()) for each in host), read(_BOOL), read(_BOOL))


@blocks("aten.dequantize", reason=Reason.CHECK, why="checks the zero points of a tensor that is quantized per channel.")
def dequantize(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the reads of both verdicts; one scale for all needs none."""
    values = call.get("self")
    if not isinstance(values, torch.Tensor) or not values.is_quantized:
        return ()
    by_channel = values.qscheme() in (torch.per_channel_affine, torch.per_channel_affine_float_qparams)
    return (read(_BOOL), read(_BOOL)) if by_channel else ()


@blocks(
    "aten.quantize_per_tensor",
    reason=Reason.VALUE,
    why="reads a scale and a zero point that are tensors on the device.",
)
def per_tensor(call: OpCall) -> Sequence[RuntimeCall]:
    """Return one read for each that is on the device."""
    return _reads(call, "scale", "zero_point")


@blocks("aten.quantize_per_tensor_dynamic", reason=Reason.RANGE, why="reads the smallest and the largest value.")
def dynamic(call: OpCall) -> Sequence[RuntimeCall]:
    """Return both reads; half precision is a conversion."""
    values = call.tensor("self")
    return () if call.get("dtype") is torch.float16 else (read(values.element_size()),) * 2


@blocks(
    "aten._fake_quantize_learnable_per_tensor_affine",
    "aten._fake_quantize_learnable_per_tensor_affine_backward",
    reason=Reason.VALUE,
    why="reads the scale and the zero point.",
)
def learnable(call: OpCall) -> Sequence[RuntimeCall]:
    """Return one read for each that is on the device."""
    return _reads(call, "scale", "zero_point")


@blocks(
    "aten.fake_quantize_per_channel_affine_cachemask",
    "aten._fake_quantize_learnable_per_channel_affine_backward",
    reason=Reason.CHECK,
    why="checks the smallest and the largest zero point.",
)
def fake_per_channel(call: OpCall) -> Sequence[RuntimeCall]:
    """Return both reads; forward does not check zero points that are no integers."""
    if not call.resident("zero_point"):
        return ()
    points = call.tensor("zero_point")
    backward = call.name.endswith("backward")
    if not backward and points.is_floating_point():
        return ()
    size = 8 if backward and points.dtype is torch.int64 else points.element_size()
    return read(size), read(size)


@blocks(
    "aten._fused_moving_avg_obs_fq_helper",
    reason=Reason.VALUE,
    why="reads whether fake quantization is on, per channel, and checks the zero points then.",
)
def observer(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the reads; a single scale asks the device alone."""
    if not call.get("per_row_fake_quant", False):
        return ()
    enabled = call.tensor("fake_quant_on")
    points = call.tensor("zero_point")
    return read(enabled.element_size()), read(points.element_size()), read(points.element_size())


def _reads(call: OpCall, *names: str) -> Sequence[RuntimeCall]:
    return tuple(read(call.tensor(name).element_size()) for name in names if call.resident(name))
