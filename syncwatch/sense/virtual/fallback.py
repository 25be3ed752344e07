"""Answers: what if CUDA can and the CPU cannot? The operator is computed by a reference, or in another type."""

from __future__ import annotations

from typing import Any

import torch

from syncwatch.sense.virtual.references import reference_of

_MISSING = (
    "Could not run",
    "Unsupported dtype Half",
    "not implemented for",
    "not supported on CPU",
    "does not support",
    "is not implemented on CPU",
)
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


def run_otherwise(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception) -> Any:
    """Compute what `func` refused with `error` by a reference or in wider types; raise `error` where neither can.

    Raises:
        torch.OutOfMemoryError: if the host has no memory left to hold what a GPU would.
    """
    if _NO_MEMORY in str(error):
        raise torch.OutOfMemoryError(
            "CUDA out of memory. The virtual device keeps its tensors in this machine's memory, which is full: "
            "watch a smaller model or batch."
        ) from error
    if _DIVIDED_BY_ZERO in str(error):
        return _divide_by_one(func, args, kwargs)
    if not any(phrase in str(error) for phrase in _MISSING):
        raise error
    reference = reference_of(func._schema.name.replace("::", "."))
    if reference is not None:
        return reference(*args, **kwargs)
    narrow = next((tensor.dtype for tensor in _tensors(args) if tensor.dtype in _WIDER), None)
    if narrow is None:
        raise error
    return _run_wider(func, args, kwargs, narrow)


def _divide_by_one(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Divide whole numbers where a divisor is zero: CUDA goes on, with values that torch leaves undefined."""
    divided, divisor, *rest = args
    if isinstance(divisor, torch.Tensor):
        divisor = torch.where(divisor == 0, torch.ones_like(divisor), divisor)
    return func(divided, divisor or 1 if isinstance(divisor, int) else divisor, *rest, **kwargs)


def _run_wider(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], narrow: torch.dtype) -> Any:
    wide = _WIDER[narrow]
    widened = [_convert(value, narrow, wide) for value in args]
    named = {key: _convert(value, narrow, wide) for key, value in kwargs.items()}
    out = func(*widened, **named)
    for before, after in zip(args, widened, strict=True):
        if isinstance(before, torch.Tensor) and before is not after and _writes(func):
            before.copy_(after)
            if out is after:
                return before
    return _convert(out, wide, narrow)


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
