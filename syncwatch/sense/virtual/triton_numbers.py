"""Answers: what does Triton's interpreter get wrong about numbers? Bfloat16, and loop bounds that were loaded.

It keeps bfloat16 as bare 16-bit integers, so that sums, products and `tl.dot` work on the bit patterns (Triton's manual
names it under "Limitations" of `TRITON_INTERPRET`). A kernel has to give here the values that it gives on a GPU, so a
bfloat16 is held as the float32 of the same value, and turned into bits only at loads, stores and bitcasts. Written
for Triton 3.6.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from syncwatch.sense.virtual.patching import Patches

_Array = np.ndarray[Any, np.dtype[Any]]


def patch(patches: Patches) -> None:
    """Mend the interpreter while the device is on."""
    if importlib.util.find_spec("triton") is None:
        return
    from triton.runtime import interpreter

    _patch_sizes(patches, interpreter)
    _patch_memory(patches, interpreter)
    _patch_casts(patches, interpreter)
    _patch_arithmetic(patches, interpreter)
    _patch_scalars(patches, interpreter)


def _is_bfloat16(dtype: Any) -> bool:
    import triton.language as tl

    return bool(getattr(dtype, "scalar", dtype) == tl.bfloat16)


def _patch_sizes(patches: Patches, interpreter: Any) -> None:
    plain_dtype, plain_check = interpreter._get_np_dtype, interpreter._validate_np_data_size

    def dtype_of(dtype: Any) -> Any:
        return np.dtype(np.float32) if _is_bfloat16(dtype) else plain_dtype(dtype)

    def check(data: Any, dtype: Any) -> bool:
        return _is_bfloat16(dtype) or bool(plain_check(data, dtype))

    patches.set(interpreter, "_get_np_dtype", dtype_of)
    patches.set(interpreter, "_validate_np_data_size", check)


def _patch_memory(patches: Patches, interpreter: Any) -> None:
    builder, handle = interpreter.InterpreterBuilder, interpreter.TensorHandle
    plain_load, plain_store = builder.create_masked_load, builder.create_masked_store

    def load(self: Any, ptrs: Any, mask: Any, other: Any, *rest: Any, **named: Any) -> Any:
        dtype = ptrs.get_element_ty()
        if not _is_bfloat16(dtype):
            return plain_load(self, ptrs, mask, other, *rest, **named)
        fallback = np.zeros_like(ptrs.data, dtype=np.uint16) if other is None else _bits(other.data)
        loaded = interpreter._interpreter.load(ptrs.data, mask.data, fallback, np.dtype(np.uint16))
        return handle(_values(loaded), dtype)

    def store(self: Any, ptrs: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        if not _is_bfloat16(value.dtype):
            return plain_store(self, ptrs, value, mask, *rest, **named)
        return interpreter._interpreter.store(ptrs.data, _bits(value.data), mask.data)

    patches.set(builder, "create_masked_load", load)
    patches.set(builder, "create_masked_store", store)


def _patch_casts(patches: Patches, interpreter: Any) -> None:
    import triton.language as tl

    builder, handle = interpreter.InterpreterBuilder, interpreter.TensorHandle
    plain_cast, plain_convert, plain_bitcast = builder.cast_impl, builder.create_fp_to_fp, builder.create_bitcast

    def widened(source: Any) -> Any:
        return handle(source.data, tl.float32) if _is_bfloat16(source.dtype) else source

    def cast(self: Any, source: Any, target: Any) -> Any:
        if _is_bfloat16(target):
            return handle(_rounded(source.data.astype(np.float32)), target.scalar)
        return plain_cast(self, widened(source), target)

    def convert(self: Any, source: Any, target: Any, rounding: Any) -> Any:
        if _is_bfloat16(target):
            exact = plain_convert(self, widened(source), tl.float32, rounding)
            return handle(_rounded(exact.data), target.scalar)
        return plain_convert(self, widened(source), target, rounding)

    def bitcast(self: Any, source: Any, target: Any) -> Any:
        if _is_bfloat16(source.dtype):
            source = handle(_bits(source.data), tl.uint16)
        if _is_bfloat16(target):
            return handle(_values(source.data.view(np.uint16)), target.scalar)
        return plain_bitcast(self, source, target)

    patches.set(builder, "cast_impl", cast)
    patches.set(builder, "create_fp_to_fp", convert)
    patches.set(builder, "create_bitcast", bitcast)


def _patch_arithmetic(patches: Patches, interpreter: Any) -> None:
    builder, handle = interpreter.InterpreterBuilder, interpreter.TensorHandle
    plain_binary, plain_abs = builder.binary_op, builder.create_fabs

    def binary(self: Any, left: Any, right: Any, op: Any) -> Any:
        result = plain_binary(self, left, right, op)
        if _is_bfloat16(left.dtype) and result.data.dtype == np.float32:
            return handle(_rounded(result.data), result.dtype)
        return result

    def fabs(self: Any, value: Any) -> Any:
        return handle(np.abs(value.data), value.dtype) if _is_bfloat16(value.dtype) else plain_abs(self, value)

    patches.set(builder, "binary_op", binary)
    patches.set(builder, "create_fabs", fabs)


def _patch_scalars(patches: Patches, interpreter: Any) -> None:
    plain = interpreter._patch_lang_tensor

    def patch_tensor(tensor: Any, scope: Any) -> None:
        plain(tensor, scope)
        # NumPy 2.4 no longer turns an array of one element into a number, and a loaded scalar is one.
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    patches.set(interpreter, "_patch_lang_tensor", patch_tensor)


def _values(bits: _Array) -> _Array:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _bits(values: _Array) -> _Array:
    """Return the bfloat16 bits of values that need no more rounding, or round them to nearest even."""
    exact = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = (exact + 0x7FFF + ((exact >> 16) & 1)) >> 16
    quiet_nan = (exact >> 16) | 0x40
    return np.where(np.isnan(values), quiet_nan, rounded).astype(np.uint16)


def _rounded(values: _Array) -> _Array:
    return _values(_bits(values))
