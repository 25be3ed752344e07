"""Mends what Triton's interpreter gets wrong about numbers: bfloat16, comparisons, loop bounds that were loaded.

It keeps bfloat16 as bare 16-bit integers, so that sums, products and `tl.dot` work on the bit patterns (Triton's manual
names it under "Limitations" of `TRITON_INTERPRET`). A kernel has to give here the values that it gives on a GPU, so a
bfloat16 is held as the float32 of the same value, and turned into bits only where memory is touched and at bitcasts.

Written for Triton 3.5 to 3.9, whose functions take different arguments: what this file does not look at is passed on as
it came. Triton documents none of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from syncwatch.compat import triton_interpreter as names
from syncwatch.sense.patching import Patches

_Array = np.ndarray[Any, np.dtype[Any]]


def patch(patches: Patches) -> None:
    """Mend the interpreter while the device is on; Triton has to be installed.

    Raises:
        AttributeError: if this Triton lacks a name that has to be replaced.
    """
    from triton.runtime import interpreter

    _patch_sizes(patches, interpreter)
    _patch_memory(patches, interpreter)
    _patch_atomics(patches, interpreter)
    _patch_casts(patches, interpreter)
    _patch_arithmetic(patches, interpreter)
    _patch_scaled_products(patches, interpreter)
    _patch_scalars(patches, interpreter)


def _is_bfloat16(dtype: Any) -> bool:
    import triton.language as tl

    return bool(getattr(dtype, "scalar", dtype) == tl.bfloat16)


def _patch_sizes(patches: Patches, interpreter: Any) -> None:
    plain_dtype = names.ARRAY_TYPE.get()
    # Triton 3.5 does not check how wide the array of a value is.
    plain_check: Any = names.CHECK_WIDTH.get_or(None)

    def dtype_of(dtype: Any) -> Any:
        return np.dtype(np.float32) if _is_bfloat16(dtype) else plain_dtype(dtype)

    def check(data: Any, dtype: Any) -> bool:
        return _is_bfloat16(dtype) or bool(plain_check(data, dtype))

    patches.set_private(names.ARRAY_TYPE, dtype_of)
    if plain_check is not None:
        patches.set_private(names.CHECK_WIDTH, check)


def _patch_memory(patches: Patches, interpreter: Any) -> None:
    builder, handle = interpreter.InterpreterBuilder, interpreter.TensorHandle
    plain_load, plain_store = builder.create_masked_load, builder.create_masked_store
    memory = names.MEMORY.get()
    read, write = memory.load, memory.store

    def load(self: Any, ptrs: Any, mask: Any, other: Any, *rest: Any, **named: Any) -> Any:
        dtype = ptrs.get_element_ty()
        if not _is_bfloat16(dtype):
            return plain_load(self, ptrs, mask, other, *rest, **named)
        fallback = np.zeros_like(ptrs.data, dtype=np.uint16) if other is None else _bits(other.data)
        return handle(_values(read(ptrs.data, _mask(mask), fallback, np.dtype(np.uint16))), dtype)

    def store(self: Any, ptrs: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        if not _is_bfloat16(value.dtype):
            return plain_store(self, ptrs, value, mask, *rest, **named)
        return write(ptrs.data, _bits(value.data), _mask(mask))

    patches.set(builder, "create_masked_load", load)
    patches.set(builder, "create_masked_store", store)


def _mask(mask: Any) -> _Array:
    # A descriptor of Triton 3.5 to 3.8 gives a bare array, whose `.data` is its buffer.
    given = mask if isinstance(mask, np.ndarray) else mask.data
    return np.asarray(given, dtype=np.bool_)


def _patch_atomics(patches: Patches, interpreter: Any) -> None:
    """Let atomics on bfloat16 compute on values: the plain ones would add bits, and write four bytes into two."""
    builder, handle = interpreter.InterpreterBuilder, interpreter.TensorHandle
    plain_update, plain_swap = builder.create_atomic_rmw, builder.create_atomic_cas
    memory, kinds = names.MEMORY.get(), names.ATOMICS.get().ATOMIC_OP
    read, write = memory.load, memory.store
    # Triton refuses the others for bfloat16 by itself.
    known: dict[Any, Any] = {kinds.FADD: np.add, kinds.XCHG: lambda old, new: new}

    def update(self: Any, kind: Any, ptr: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        if not _is_bfloat16(value.dtype) or kind not in known:
            return plain_update(self, kind, ptr, value, mask, *rest, **named)
        addresses, values, wanted = np.broadcast_arrays(ptr.data, value.data, _mask(mask))
        before = np.zeros(addresses.shape, dtype=np.float32)
        # One after the other, as several of them may have one address.
        for place in np.ndindex(addresses.shape):
            if wanted[place]:
                address, yes = addresses[place].reshape(1), np.ones(1, dtype=np.bool_)
                old = _values(read(address, yes, np.zeros(1, dtype=np.uint16), np.dtype(np.uint16)))
                write(address, _bits(known[kind](old, values[place].reshape(1))), yes)
                before[place] = old[0]
        return handle(before, value.dtype.scalar)

    def swap(self: Any, ptr: Any, expected: Any, value: Any, *rest: Any, **named: Any) -> Any:
        if not _is_bfloat16(expected.dtype):
            return plain_swap(self, ptr, expected, value, *rest, **named)
        import triton.language as tl

        asked, given = (handle(_bits(each.data), tl.uint16) for each in (expected, value))
        return handle(_values(plain_swap(self, ptr, asked, given, *rest, **named).data), expected.dtype.scalar)

    patches.set(builder, "create_atomic_rmw", update)
    patches.set(builder, "create_atomic_cas", swap)


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
        if target.scalar in (tl.bfloat16, tl.float16, tl.float32) and source.dtype.scalar in (tl.bfloat16, tl.float16):
            return cast(self, source, target)
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

    def constant(self: Any, value: Any) -> Any:
        return handle(_rounded(np.array([value], dtype=np.float32)), tl.bfloat16)

    patches.set(builder, "cast_impl", cast)
    patches.set(builder, "create_fp_to_fp", convert)
    patches.set(builder, "create_bitcast", bitcast)
    # Triton before 3.9 has no bfloat16 constants.
    patches.set(builder, "get_bf16", constant)


def _patch_arithmetic(patches: Patches, interpreter: Any) -> None:
    import triton.language as tl

    builder, handle = interpreter.InterpreterBuilder, interpreter.TensorHandle
    plain_binary, plain_unary, plain_abs = builder.binary_op, builder.unary_op, builder.create_fabs
    plain_ternary, plain_fma = builder.ternary_op, builder.create_fma

    def rounded(result: Any) -> Any:
        if _is_bfloat16(result.dtype) and result.data.dtype.kind == "f":
            return handle(_rounded(result.data.astype(np.float32)), result.dtype)
        return result

    def binary(self: Any, left: Any, right: Any, op: Any) -> Any:
        result = plain_binary(self, left, right, op)
        if result.data.dtype == np.bool_ and result.dtype.scalar != tl.int1:
            # A comparison keeps the type of what was compared, and a mask that is made from it is refused by 3.9.
            return handle(result.data, tl.int1)
        return rounded(result)

    def unary(self: Any, value: Any, op: Any) -> Any:
        return rounded(plain_unary(self, value, op))

    def ternary(self: Any, first: Any, second: Any, third: Any, op: Any) -> Any:
        return rounded(plain_ternary(self, first, second, third, op))

    def fma(self: Any, first: Any, second: Any, third: Any) -> Any:
        if not _is_bfloat16(third.dtype):
            return plain_fma(self, first, second, third)
        product = np.multiply(first.data, second.data, dtype=np.float64)
        return handle(_rounded((product + third.data).astype(np.float32)), third.dtype.scalar)

    def fabs(self: Any, value: Any) -> Any:
        return handle(np.abs(value.data), value.dtype) if _is_bfloat16(value.dtype) else plain_abs(self, value)

    patches.set(builder, "binary_op", binary)
    patches.set(builder, "unary_op", unary)
    patches.set(builder, "ternary_op", ternary)
    patches.set(builder, "create_fma", fma)
    patches.set(builder, "create_fabs", fabs)


def _patch_scaled_products(patches: Patches, interpreter: Any) -> None:
    """Let `tl.dot_scaled` take bfloat16; Triton before 3.8 has none here."""
    plain = names.SCALED_PRODUCT.get_or(None)
    if plain is None:
        return

    def to_float32(value: Any) -> Any:
        return value.data if _is_bfloat16(value.dtype) else plain(value)

    patches.set_private(names.SCALED_PRODUCT, to_float32)


def _patch_scalars(patches: Patches, interpreter: Any) -> None:
    plain = names.TENSOR_METHODS.get()

    def patch_tensor(tensor: Any, *scope: Any) -> None:
        plain(tensor, *scope)
        # NumPy 2.4 no longer turns an array of one element into a number, and a loaded scalar is one.
        _set(scope, tensor, "__index__", lambda self: int(self.handle.data.item()))

    patches.set_private(names.TENSOR_METHODS, patch_tensor)


def _set(scope: tuple[Any, ...], owner: Any, name: str, value: Any) -> None:
    """Set a name as the interpreter does: in a scope that undoes it, or for good (Triton 3.5)."""
    if scope:
        scope[0].set_attr(owner, name, value)
    else:
        setattr(owner, name, value)


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
