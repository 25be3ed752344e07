"""Answers: which functions are taken as one kernel? Matrix products and attention, where nothing else is watching.

torch would take each apart into views and a product, and show every piece to the dispatch mode: 25 us for a linear
layer of which CUDA makes one kernel. None of them ever waits, so without autograd they are run in one go.
"""

from __future__ import annotations

from typing import Any

import torch

from syncwatch.sense.virtual.engine import Target
from syncwatch.sense.virtual.function_mode import Handler, VirtualFunctionMode
from syncwatch.sense.virtual.quiet import quiet
from syncwatch.sense.virtual.residency import is_resident, mark_resident

_ATTENTION_PRODUCTS = 2


def _linear(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _product(mode, func, args, kwargs, "aten.addmm" if len(args) > 2 and args[2] is not None else "aten.mm")


def _matmul(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _product(mode, func, args, kwargs, "aten.bmm")


def _product(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> Any:
    if kwargs or not _alone(mode) or not _all_there(args):
        return mode.call(func, args, kwargs, Target.INFER)
    with quiet():
        out: torch.Tensor = func(*args)
        return _charged(mode, name, args, out, 2 * out.numel() * args[0].shape[-1])


def _attention(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    mask = kwargs.get("attn_mask")
    # Dropout draws numbers, which the dispatch mode takes from the device's own generator.
    plain = len(args) == 3 and not kwargs.get("dropout_p") and (mask is None or is_resident(mask))
    if not plain or not _alone(mode) or not _all_there(args):
        return mode.call(func, args, kwargs, Target.INFER)
    with quiet():
        out: torch.Tensor = func(*args, **kwargs)
        flops = _ATTENTION_PRODUCTS * 2 * out.numel() * args[1].shape[-2]
        return _charged(mode, "aten.scaled_dot_product_attention", args, out, flops)


def _charged(
    mode: VirtualFunctionMode, name: str, inputs: tuple[Any, ...], out: torch.Tensor, flops: int
) -> torch.Tensor:
    engine = mode.engine
    mark_resident(out, engine.memory)
    width = out.element_size()
    size = (out.numel() + sum(each.numel() for each in inputs if each is not None)) * width
    engine.kernel(mode.state, name, engine.rates.kernel_ns(size, flops, width))
    return out


def _alone(mode: VirtualFunctionMode) -> bool:
    """Return whether nobody else looks on: autograd, a capture, or modes of the user's own."""
    return not (
        torch.is_grad_enabled()
        or mode.engine.capture is not None
        or torch._C._len_torch_function_stack()
        or torch._C._len_torch_dispatch_stack() > 1
    )


def _all_there(values: tuple[Any, ...]) -> bool:
    return all(value is None or (type(value) in _PLAIN and is_resident(value)) for value in values)


_PLAIN = (torch.Tensor, torch.nn.Parameter)


def handlers() -> dict[Any, Handler]:
    """Return the handlers of this family."""
    tensor: Any = torch.Tensor
    return {
        torch.nn.functional.linear: _linear,
        torch.nn.functional.scaled_dot_product_attention: _attention,
        torch.matmul: _matmul,
        tensor.matmul: _matmul,
        tensor.__matmul__: _matmul,
    }
