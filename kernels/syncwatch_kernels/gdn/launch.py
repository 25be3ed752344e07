"""Gives Triton kernels types: Triton's decorators have none, and are used in this module alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

import triton

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
    """Declare a function that Triton kernels call."""
    if triton.knobs.runtime.interpret:
        # The kernel around it has patched `triton.language` already. A nested interpreted function would patch it all
        # again at each call, which took half of the time of a chunk.
        return function
    return cast("Function", triton.jit(function))
