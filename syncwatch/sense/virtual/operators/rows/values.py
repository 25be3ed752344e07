"""The operators that read a value back: scalars, truth values, and scales or arguments that lie on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from syncwatch.sense.virtual.operators.table import OpCall, RuntimeCall, WaitReason, blocks, read, upload, upload_pinned

_BOOL = 1


@blocks(
    "aten._local_scalar_dense",
    reason=WaitReason.VALUE,
    why="copies one element into a pinned buffer and waits for the stream.",
)
def scalar(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of one element; one on the host, such as the size that a factory is given, is no wait."""
    return (read(call.tensor("self").element_size()),) if call.resident("self") else ()


@blocks("aten.equal", reason=WaitReason.VALUE, why="reads `(a == b).all()`, unless sizes or identity decide.")
def equal(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the verdict."""
    first, second = call.tensor("self"), call.tensor("other")
    if first.shape != second.shape or first.numel() == 0 or _same_memory(first, second):
        return ()
    return (read(_BOOL),)


def _same_memory(first: torch.Tensor, second: torch.Tensor) -> bool:
    # A NaN differs from itself, but `cuda_equal` takes this shortcut all the same.
    return first.data_ptr() == second.data_ptr() and first.stride() == second.stride() and first.dtype == second.dtype


@blocks("aten.allclose", reason=WaitReason.VALUE, why="reads `isclose(...).all()`.")
def allclose(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the verdict."""
    return (read(_BOOL),)


@blocks("aten.linspace", "aten.logspace", reason=WaitReason.VALUE, why="reads tensor end points with `.item()`.")
def end_points(call: OpCall) -> Sequence[RuntimeCall]:
    """Return one read for each end point on the device."""
    return tuple(read(call.tensor(name).element_size()) for name in ("start", "end") if call.resident(name))


@blocks(
    "aten.masked_fill",
    "aten.masked_fill_",
    "aten.index_fill",
    "aten.index_fill_",
    reason=WaitReason.VALUE,
    why="turns a tensor value on the device into a number with `.item()`.",
    by_form=True,
)
def fill_value(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the value, where it is a tensor on the device."""
    return (read(call.tensor("value").element_size()),) if call.resident("value") else ()


@blocks(
    "aten.fill",
    "aten.fill_",
    reason=WaitReason.VALUE,
    why="reads a value on the device to fill a tensor on the host.",
    host=True,
)
def fill(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the value; on one device it is copied there."""
    if call.resident("self") or not call.resident("value"):
        return ()
    return (read(call.tensor("value").element_size()),)


@blocks(
    "aten.normal",
    reason=WaitReason.CHECK,
    why="checks twice that every standard deviation is at least zero: `std.min().ge(0).item()`.",
)
def normal(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the read of the check, where `std` is a tensor."""
    std = call.get("std")
    return (read(_BOOL),) * 2 if call.resident("std") and std.numel() else ()


@blocks("aten.batch_norm_gather_stats", reason=WaitReason.UPLOAD, why="sends how many elements each process counted.")
def gather_stats(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the upload of a number for each process."""
    return (upload(8 * call.tensor("mean").shape[0]),)


@blocks("aten._chunk_cat", reason=WaitReason.UPLOAD, why="sends sizes and addresses through pinned memory.")
def chunk_cat(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the upload that nobody waits for."""
    return (upload_pinned(32 * len(call.get("tensors"))),)


@blocks(
    "aten.segment_reduce",
    reason=WaitReason.CHECK,
    why="checks that lengths are not negative and sum to the size of the axis.",
)
def segment_reduce(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the reads of both checks."""
    if not call.resident("lengths") or call.get("unsafe", False):
        return ()
    return read(8), read(_BOOL)


@blocks("aten.where", reason=WaitReason.UPLOAD, why="copies a scalar tensor of the host to the device.", host=True)
def where(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the upload of each scalar that lies on the host; one of the user's own numbers is made on the device."""
    values = (call.get("self"), call.get("other"))
    scalars = [each for each in values if isinstance(each, torch.Tensor) and not each.is_cuda and not each.dim()]
    return tuple(upload(each.element_size()) for each in scalars)


@blocks(
    "aten.quantize_per_channel",
    reason=WaitReason.CHECK,
    why="checks that every zero point fits the type, on both sides.",
)
def per_channel(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the reads of both verdicts; scales or zero points on the host are uploaded before."""
    host = [call.tensor(name) for name in ("scales", "zero_points") if not call.resident(name)]
    return (*(upload(8 * each.numel()) for each in host), read(_BOOL), read(_BOOL))


@blocks(
    "aten.dequantize", reason=WaitReason.CHECK, why="checks the zero points of a tensor that is quantized per channel."
)
def dequantize(call: OpCall) -> Sequence[RuntimeCall]:
    """Return the reads of both verdicts; one scale for all needs none."""
    values = call.get("self")
    if not isinstance(values, torch.Tensor) or not values.is_quantized:
        return ()
    by_channel = values.qscheme() in (torch.per_channel_affine, torch.per_channel_affine_float_qparams)
    return (read(_BOOL), read(_BOOL)) if by_channel else ()


@blocks(
    "aten.quantize_per_tensor",
    reason=WaitReason.VALUE,
    why="reads a scale and a zero point that are tensors on the device.",
)
def per_tensor(call: OpCall) -> Sequence[RuntimeCall]:
    """Return one read for each that is on the device."""
    return _reads(call, "scale", "zero_point")


@blocks("aten.quantize_per_tensor_dynamic", reason=WaitReason.RANGE, why="reads the smallest and the largest value.")
def dynamic(call: OpCall) -> Sequence[RuntimeCall]:
    """Return both reads; half precision is a conversion."""
    values = call.tensor("self")
    return () if call.get("dtype") is torch.float16 else (read(values.element_size()),) * 2


@blocks(
    "aten._fake_quantize_learnable_per_tensor_affine",
    "aten._fake_quantize_learnable_per_tensor_affine_backward",
    reason=WaitReason.VALUE,
    why="reads the scale and the zero point.",
)
def learnable(call: OpCall) -> Sequence[RuntimeCall]:
    """Return one read for each that is on the device."""
    return _reads(call, "scale", "zero_point")


@blocks(
    "aten.fake_quantize_per_channel_affine_cachemask",
    "aten._fake_quantize_learnable_per_channel_affine_backward",
    reason=WaitReason.CHECK,
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
    reason=WaitReason.VALUE,
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
