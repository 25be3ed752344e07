"""Answers: where do new tensors belong? Functions with `device=`, and those that upload host data."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._device import _device_constructors

from syncwatch.sense.virtual import op_names
from syncwatch.sense.virtual.engine import Target
from syncwatch.sense.virtual.function_mode import Handler, VirtualFunctionMode
from syncwatch.sense.virtual.moves import to_place
from syncwatch.sense.virtual.places import CPU, Place, place_named
from syncwatch.sense.virtual.quiet import quiet
from syncwatch.sense.virtual.residency import is_resident, mark_pinned, mark_resident
from syncwatch.sense.virtual.runtime_calls import read, upload


def by_device(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function that was given `device=` or `pin_memory=`, and put what it makes where it belongs."""
    device, pin = kwargs.get("device"), bool(kwargs.get("pin_memory", False))
    if device is None and not pin:
        return mode.call(func, args, kwargs, Target.INFER)
    place = Place.HOST if device is None else place_named(device)
    if place is Place.ELSEWHERE:
        return mode.call(func, args, kwargs, Target.HOST)
    named = {**kwargs, "device": CPU}
    if pin:
        if place is Place.DEVICE:
            raise RuntimeError("Only dense CPU tensors can be pinned")
        named["pin_memory"] = False
    out = mode.call(func, args, named, Target.DEVICE if place is Place.DEVICE else Target.HOST)
    if pin and isinstance(out, torch.Tensor):
        mark_pinned(out)
    return out


def _constructor(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if kwargs.get("device") is None and mode.engine.default_device is not None:
        kwargs = {**kwargs, "device": mode.engine.default_device}
    elif not kwargs:
        return mode.call(func, args, kwargs, Target.INFER)
    return by_device(mode, func, args, kwargs)


def _tensor(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`torch.tensor`: host data becomes a host tensor first, which is then uploaded and waited for."""
    data = args[0] if args else kwargs["data"]
    return _from_data(mode, func, data, args, kwargs, mode.engine.default_device)


def _new_tensor(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    data = args[1] if len(args) > 1 else kwargs["data"]
    here = torch.device("cuda") if is_resident(args[0]) else CPU
    return _from_data(mode, func, data, args, kwargs, here)


def _from_data(
    mode: VirtualFunctionMode,
    func: Any,
    data: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    default: torch.device | None,
) -> Any:
    if isinstance(data, torch.Tensor):
        return _copy_of(mode, data, kwargs, default)
    device = kwargs.get("device") or default
    place = Place.HOST if device is None else place_named(device)
    if place is Place.ELSEWHERE:
        return mode.call(func, args, kwargs, Target.HOST)
    engine, state = mode.engine, mode.state
    for element in _resident_elements(data):
        engine.run(state, read(element.element_size()), op_names.SCALAR)
    with quiet():
        out = func(*args, **{**kwargs, "device": CPU, "pin_memory": False} if func is torch.tensor else _on_cpu(kwargs))
    if kwargs.get("pin_memory"):
        mark_pinned(out)
    if place is Place.DEVICE:
        mark_resident(out, engine.memory)
        if out.numel():
            engine.run(state, upload(out.numel() * out.element_size()), op_names.MOVE)
    return out


def _on_cpu(kwargs: dict[str, Any]) -> dict[str, Any]:
    named = {**kwargs, "device": CPU}
    if "pin_memory" in named:
        named["pin_memory"] = False
    return named


def _copy_of(mode: VirtualFunctionMode, data: torch.Tensor, kwargs: dict[str, Any], default: Any) -> torch.Tensor:
    """Return what `torch.tensor(tensor)` is: a detached copy."""
    device = kwargs.get("device")
    if device is None:
        place = Place.DEVICE if is_resident(data) or default is not None else Place.HOST
    else:
        place = place_named(device)
    with mode:
        out = to_place(
            mode.engine,
            data.detach(),
            to_device=place is Place.DEVICE,
            dtype=kwargs.get("dtype"),
            copy=True,
        )
        return out.requires_grad_(bool(kwargs.get("requires_grad", False)))


def _resident_elements(data: Any) -> list[torch.Tensor]:
    """Return the device tensors in nested lists; lists of numbers are told by their first element."""
    if isinstance(data, torch.Tensor):
        return [data] if is_resident(data) else []
    if not isinstance(data, (list, tuple)) or not data or isinstance(data[0], (int, float, bool, complex)):
        return []
    return [element for each in data for element in _resident_elements(each)]


def _as_tensor(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`torch.as_tensor` and `torch.asarray`: no copy where none is needed."""
    data = args[0] if args else kwargs.get("data", kwargs.get("obj"))
    device = kwargs.get("device") or (None if isinstance(data, torch.Tensor) else mode.engine.default_device)
    if len(args) > 2:
        device = args[2]
    if device is None and not _resident_elements(data):
        return mode.call(func, args, kwargs, Target.INFER)
    if not isinstance(data, torch.Tensor):
        if device is None or isinstance(data, (list, tuple, int, float, bool, complex)):
            return _from_data(mode, func, data, args[:2], kwargs, mode.engine.default_device)
        with quiet():
            data = func(data)
    place = (Place.DEVICE if is_resident(data) else Place.HOST) if device is None else place_named(device)
    if place is Place.ELSEWHERE:
        return mode.call(func, args, kwargs, Target.HOST)
    dtype = args[1] if len(args) > 1 else kwargs.get("dtype")
    copy = bool(kwargs.get("copy", False))
    return to_place(mode.engine, data, to_device=place is Place.DEVICE, dtype=dtype, copy=copy)


def handlers() -> dict[Any, Handler]:
    """Return the handlers of this family."""
    table: dict[Any, Handler] = dict.fromkeys(_device_constructors(), _constructor)
    table[torch.tensor] = _tensor
    table[torch.Tensor.new_tensor] = _new_tensor
    table[torch.as_tensor] = _as_tensor
    table[torch.asarray] = _as_tensor
    return table
