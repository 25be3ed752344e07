"""Answers: which functions take a tensor from one side to the other?"""

from __future__ import annotations

from typing import Any

import torch

from syncwatch.sense.virtual import op_names
from syncwatch.sense.virtual.engine import Target
from syncwatch.sense.virtual.function_mode import Handler, VirtualFunctionMode
from syncwatch.sense.virtual.moves import to_place
from syncwatch.sense.virtual.places import Place, place_named
from syncwatch.sense.virtual.residency import is_resident
from syncwatch.sense.virtual.runtime_calls import read_pageable


def _to(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, rest = args[0], args[1:]
    other = rest[0] if rest else kwargs.get("other")
    copy, rest, named = _without_copy(rest, kwargs)
    if type(other) is int:
        # torch would ask the CPU build which accelerator a bare number means.
        rest = (torch.device("cuda", other), *rest[1:])
    elif type(named.get("device")) is int:
        named = {**named, "device": torch.device("cuda", named["device"])}
    device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*rest, **named)
    if isinstance(other, torch.Tensor):
        place = Place.DEVICE if is_resident(other) else Place.HOST
    elif device is None:
        return mode.call(func, args, kwargs, Target.INFER)
    else:
        place = place_named(device)
    if place is Place.ELSEWHERE or tensor.is_meta:
        return mode.call(func, args, kwargs, Target.HOST)
    return _place(mode, tensor, place, dtype, non_blocking, copy=copy, memory_format=memory_format)


def _without_copy(rest: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bool, tuple[Any, ...], dict[str, Any]]:
    """Return `copy`, and the arguments without it: torch's own parser does not take it."""
    if "copy" in kwargs:
        return bool(kwargs["copy"]), rest, {name: value for name, value in kwargs.items() if name != "copy"}
    if len(rest) < 3:
        return False, rest, kwargs
    # By position it follows `(device, dtype, non_blocking)` or `(dtype or tensor, non_blocking)`.
    position = 2 if isinstance(rest[0], (torch.dtype, torch.Tensor)) else 3
    return (bool(rest[position]) if len(rest) > position else False), rest[:position], kwargs


def _place(
    mode: VirtualFunctionMode,
    tensor: torch.Tensor,
    place: Place,
    dtype: torch.dtype | None,
    non_blocking: bool = False,
    *,
    copy: bool = False,
    memory_format: torch.memory_format | None = None,
) -> torch.Tensor:
    state = mode.state
    outer = state.call
    state.call = (tensor,)
    try:
        return to_place(
            mode.engine,
            tensor,
            to_device=place is Place.DEVICE,
            dtype=dtype,
            non_blocking=non_blocking,
            copy=copy,
            memory_format=memory_format or torch.preserve_format,
        )
    finally:
        state.call = outer


def _cuda(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    device = args[1] if len(args) > 1 else kwargs.get("device")
    if device is not None and place_named(device) is not Place.DEVICE:
        raise RuntimeError(f"Invalid device, must be cuda device, not {device}")
    non_blocking = bool(args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
    return _place(mode, args[0], Place.DEVICE, None, non_blocking, memory_format=kwargs.get("memory_format"))


def _cpu(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _place(mode, args[0], Place.HOST, None, memory_format=kwargs.get("memory_format"))


def _type_as(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    other = args[1] if len(args) > 1 else kwargs["other"]
    return _place(mode, args[0], Place.DEVICE if is_resident(other) else Place.HOST, other.dtype)


def _type(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor = args[0]
    wanted = args[1] if len(args) > 1 else kwargs.get("dtype")
    if wanted is None:
        name: str = func(tensor)
        return name.replace("torch.", "torch.cuda.", 1) if is_resident(tensor) else name
    if isinstance(wanted, torch.dtype):
        return mode.call(func, args, kwargs, Target.INFER)
    name = wanted if isinstance(wanted, str) else f"{wanted.__module__}.{wanted.__name__}"
    place = Place.DEVICE if name.startswith("torch.cuda.") else Place.HOST
    plain = getattr(torch, name.rpartition(".")[2])
    return _place(mode, tensor, place, plain.dtype, bool(kwargs.get("non_blocking", False)))


def _tolist(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor = args[0]
    if is_resident(tensor) and tensor.numel():
        mode.engine.run(mode.state, read_pageable(tensor.numel() * tensor.element_size()), op_names.MOVE)
    return func(tensor)


def handlers() -> dict[Any, Handler]:
    """Return the handlers of this family."""
    tensor: Any = torch.Tensor
    return {
        tensor.to: _to,
        tensor.cuda: _cuda,
        tensor.cpu: _cpu,
        tensor.type_as: _type_as,
        tensor.type: _type,
        tensor.tolist: _tolist,
    }
