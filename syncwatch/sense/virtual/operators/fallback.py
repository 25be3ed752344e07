"""Computes operators that CUDA can run and the CPU cannot, by a reference or in another type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from syncwatch.sense.virtual.operators.references import reference_of

_MISSING = (
    "Could not run",
    "Unsupported dtype Half",
    "not implemented for",
    "not supported on CPU",
    "does not support",
    "doesn't support tensors of type",
    "is not implemented on CPU",
)
_NO_KERNEL = "Could not run"
_OF_THE_CPU = "not implemented on the CPU"
_NO_MEMORY = "can't allocate memory"
_DIVIDED_BY_ZERO = "ZeroDivisionError"
_WIDER = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.complex32: torch.complex64,
    torch.bool: torch.uint8,
    torch.uint8: torch.float64,
    torch.int8: torch.float64,
    torch.int16: torch.float64,
    torch.int32: torch.float64,
    torch.int64: torch.float64,
}


def compute_otherwise(func: Any, name: str, args: Sequence[Any], error: str) -> tuple[bool, Any]:
    """Compute what the CPU refused with `error` by a reference or in wider types.

    Returns:
        Whether that was possible, and the result.

    Raises:
        torch.OutOfMemoryError: if the host has no memory left to hold what a GPU would.
    """
    if _NO_MEMORY in error:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. The virtual device keeps its tensors in this machine's memory, which is full: "
            "watch a smaller model or batch."
        )
    if _DIVIDED_BY_ZERO in error:
        return True, _divide_by_one(func, tuple(args))
    reference = reference_of(name)
    if reference is not None:
        given, named = _by_position(func, args)
        return True, reference(*given, **named)
    if _OF_THE_CPU in error:
        reason = error.splitlines()[0].rstrip(".")
        raise NotImplementedError(f"The virtual device cannot compute {name}, as the CPU does it: {reason}.")
    if not any(phrase in error for phrase in _MISSING):
        return False, None
    narrow = next((tensor.dtype for tensor in _tensors(args) if tensor.dtype in _WIDER), None)
    if narrow is not None and _NO_KERNEL not in error:
        return True, _run_wider(func, args, narrow)
    if _NO_KERNEL in error:
        raise NotImplementedError(f"The virtual device cannot compute {name}: torch has no kernel of it for the CPU.")
    return False, None


def _divide_by_one(func: Any, args: tuple[Any, ...]) -> Any:
    """Divide whole numbers where a divisor is zero: CUDA goes on, with values that torch leaves undefined."""
    given, named = _by_position(func, args)
    divided, divisor, *rest = given
    if isinstance(divisor, torch.Tensor):
        divisor = torch.where(divisor == 0, torch.ones_like(divisor), divisor)
    return func(divided, divisor or 1 if isinstance(divisor, int) else divisor, *rest, **named)


def _run_wider(func: Any, args: Sequence[Any], narrow: torch.dtype) -> Any:
    wide = _WIDER[narrow]
    widened = [_convert(value, narrow, wide) for value in args]
    given, named = _by_position(func, widened)
    out = func(*given, **named)
    for before, after in zip(args, widened, strict=True):
        if isinstance(before, torch.Tensor) and before is not after and _writes(func):
            before.copy_(after)
            if out is after:
                return before
    if narrow is torch.float16:
        out = _convert(out, torch.complex64, torch.complex32)
    return _convert(out, wide, narrow)


def _by_position(func: Any, values: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the values that go by position, and those that go by name only."""
    given, named = [], {}
    for value, argument in zip(values, func._schema.arguments, strict=True):
        if argument.kwarg_only:
            named[argument.name] = value
        else:
            given.append(value)
    return given, named


def _writes(func: Any) -> bool:
    return bool(func._schema.is_mutable)


def _convert(value: Any, before: torch.dtype, after: torch.dtype) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(after) if value.dtype == before else value
    if isinstance(value, (list, tuple)):
        return type(value)(_convert(each, before, after) for each in value)
    return value


def _tensors(values: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += _tensors(value)
    return found
