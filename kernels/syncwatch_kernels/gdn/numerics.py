"""What all kernels share: fixed sizes, typed decorators, and numbers alike on a GPU and in the interpreter.

The interpreter keeps bfloat16 as bare 16-bit integers: its `tl.dot` multiplies the bit patterns and its conversion from
float32 drops bits instead of rounding. (Triton's manual names the first under "Limitations" of `TRITON_INTERPRET`.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

import triton
import triton.language as tl

CHUNK_SIZE = 64
"""Tokens in a chunk. It never depends on the lengths, so one compiled variant serves every batch."""

CONV_WIDTH = 4
"""Taps of the causal convolution; its state holds `CONV_WIDTH - 1` past inputs."""

L2_NORM_EPS = 1e-6
"""Added to the squared norm of a query or key, as the served models do."""

RMS_NORM_EPS = 1e-6
"""Added to the mean square of an output head, as the served models do."""


Function = TypeVar("Function", bound=Callable[..., Any])


class Kernel(Protocol):
    """A compiled function that is launched as `kernel[grid](...)`."""

    arg_names: Sequence[str]

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., object]:
        """Return the launcher for `grid`."""


def kernel(
    *, lengths: Sequence[str] = (), index_pointers: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Kernel]:
    """Declare a Triton kernel.

    Args:
        lengths: parameters that change from batch to batch. Triton would compile another variant for 1 and for
            multiples of 16, and the first batch that has such a length would pay for it.
        index_pointers: pointers to metadata, which may be views at any offset; not specialised for the same reason.
    """

    def decorate(function: Callable[..., None]) -> Kernel:
        return cast(
            "Kernel",
            triton.jit(
                function,
                do_not_specialize=list(lengths),
                do_not_specialize_on_alignment=list(index_pointers),
            ),
        )

    return decorate


def device_function(function: Function) -> Function:
    """Declare a function that kernels call."""
    if triton.knobs.runtime.interpret:
        # The kernel around it has patched `triton.language` already. A nested interpreted function would patch it all
        # again at each call, which took half of the time of a chunk.
        return function
    return cast("Function", triton.jit(function))


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
