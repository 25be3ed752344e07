"""Answers: where does a tensor say that it is? `.device`, `.is_cuda`, `.type()` and their like."""

from __future__ import annotations

from typing import Any

import torch

from syncwatch.sense.virtual.engine import Target
from syncwatch.sense.virtual.function_mode import Handler, VirtualFunctionMode
from syncwatch.sense.virtual.places import CUDA
from syncwatch.sense.virtual.residency import is_pinned, is_resident, mark_pinned


def _device(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return CUDA if is_resident(args[0]) else func(*args)


def _is_cuda(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return is_resident(args[0])


def _is_cpu(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return not is_resident(args[0]) and func(*args)


def _get_device(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return 0 if is_resident(args[0]) else func(*args)


def _is_pinned(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return is_pinned(args[0])


def _pin_memory(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor = args[0]
    if is_resident(tensor):
        raise RuntimeError("cannot pin a CUDA tensor: only dense CPU tensors can be pinned")
    if is_pinned(tensor):
        return tensor
    copy = mode.call(torch.Tensor.clone, (tensor,), None, Target.HOST)
    mark_pinned(copy)
    return copy


def _numpy(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor = args[0]
    if not is_resident(tensor):
        return func(*args, **kwargs)
    if kwargs.get("force", False):
        with mode:
            return tensor.detach().cpu().numpy(force=True)
    raise TypeError(
        "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
    )


def _named(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`torch.device(0)` is the accelerator's, of which a torch for the CPU has none."""
    if len(args) == 1 and type(args[0]) is int and not kwargs:
        return torch.device("cuda", args[0])
    return func(*args, **kwargs)


def handlers() -> dict[Any, Handler]:
    """Return the handlers of this family."""
    tensor: Any = torch.Tensor
    return {
        torch.device: _named,
        tensor.device.__get__: _device,
        tensor.is_cuda.__get__: _is_cuda,
        tensor.is_cpu.__get__: _is_cpu,
        tensor.get_device: _get_device,
        tensor.is_pinned: _is_pinned,
        tensor.pin_memory: _pin_memory,
        tensor.numpy: _numpy,
    }
