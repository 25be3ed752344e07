"""Products, rounding and sums that give the same on the GPU and under Triton's interpreter.

The interpreter keeps bfloat16 as bare 16-bit integers: its `tl.dot` multiplies the bit patterns and its conversion from
float32 drops bits instead of rounding. (Triton's manual names the first under "Limitations" of `TRITON_INTERPRET`.)
"""

from __future__ import annotations

import triton
import triton.language as tl

from syncwatch_kernels.gdn.launch import device_function

INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))


@device_function
def dot(b_x: tl.tensor, b_y: tl.tensor) -> tl.tensor:
    """Return `b_x @ b_y` in float32; float32 operands are never shortened to tf32."""
    if INTERPRETED:
        b_product = tl.dot(b_x.to(tl.float32), b_y.to(tl.float32), input_precision="ieee")
    else:
        b_product = tl.dot(b_x, b_y, input_precision="ieee")
    return b_product


@device_function
def narrow(b_x: tl.tensor, dtype: tl.constexpr) -> tl.tensor:
    """Round float32 `b_x` to `dtype`, to nearest even."""
    if INTERPRETED and dtype == tl.bfloat16:
        # Dekker's splitting (Numer. Math. 18, 1971) with 2**16 + 1 rounds the 24 bits of float32 to bfloat16's 8.
        b_scaled = b_x * 65537.0
        b_x = b_scaled - (b_scaled - b_x)
    return b_x.to(dtype)


@device_function
def sum_over(b_x: tl.tensor, axis: tl.constexpr) -> tl.tensor:
    """Return the sum of `b_x` over `axis`."""
    if INTERPRETED:
        # `tl.sum` is itself an interpreted function, and entering one costs more than a hundred small sums.
        return tl.reduce(b_x, axis, tl.standard._sum_combine)
    else:
        return tl.sum(b_x, axis=axis)


@device_function
def loop_bound(count: tl.tensor) -> tl.tensor:
    """Return `count` as something `range` takes; call it inside `range(...)`.

    The interpreter turns whatever is assigned to a name into an array of one element, which NumPy 2.4 and later refuse
    to use as an index.
    """
    if INTERPRETED:
        return count.handle.data.item()
    else:
        return count
