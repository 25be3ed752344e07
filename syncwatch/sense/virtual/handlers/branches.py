"""Answers: where does torch itself ask `is_cuda` and take another way than on the CPU?"""

from __future__ import annotations

from typing import Any

import torch

from syncwatch.sense.virtual import op_names
from syncwatch.sense.virtual.blocking_ops import OpCall, row_of
from syncwatch.sense.virtual.engine import Target
from syncwatch.sense.virtual.function_mode import Handler, VirtualFunctionMode
from syncwatch.sense.virtual.quiet import quiet
from syncwatch.sense.virtual.residency import is_resident, mark_resident
from syncwatch.sense.virtual.runtime_calls import read, read_pageable, upload

_MEAN = 1


def _one_hot(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`one_hot` checks its values on the CPU only; on CUDA it reads the largest where no `num_classes` is given."""
    labels: torch.Tensor = args[0] if args else kwargs["tensor"]
    if not is_resident(labels):
        return mode.call(func, args, kwargs, Target.INFER)
    classes = args[1] if len(args) > 1 else kwargs.get("num_classes", -1)
    if classes == -1 and labels.numel():
        mode.engine.run(mode.state, read(labels.element_size()), op_names.SCALAR)
    return mode.muted(func, args, kwargs)


def _unchecked(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`quantile` checks that `q` lies in [0, 1] on the CPU only, to spare CUDA the wait."""
    if args and isinstance(args[0], torch.Tensor) and is_resident(args[0]):
        return mode.muted(func, args, kwargs)
    return mode.call(func, args, kwargs, Target.INFER)


def _ctc_loss(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`ctc_loss` reads lengths on the device, targets to choose cuDNN, and uploads lengths for a mean."""
    if not is_resident(args[0]):
        return mode.call(func, args, kwargs, Target.INFER)
    lengths = [each for each in args[2:4] if isinstance(each, torch.Tensor)]
    on_device = [each for each in lengths if is_resident(each)]
    for each in [*on_device, *lengths[:1]]:
        mode.engine.run(mode.state, read_pageable(each.numel() * each.element_size()), op_names.MOVE)
    reduction = args[5] if len(args) > 5 else kwargs.get("reduction", _MEAN)
    if reduction == _MEAN:
        mode.engine.run(mode.state, upload(8 * args[0].shape[1]), op_names.MOVE)
    # The CPU build divides by the lengths where they are; the upload above has put them beside the losses.
    args = (*args[:2], *(_beside(mode, each) for each in args[2:4]), *args[4:])
    return mode.call(func, args, kwargs, Target.INFER)


def _beside(mode: VirtualFunctionMode, lengths: Any) -> Any:
    if not isinstance(lengths, torch.Tensor) or is_resident(lengths):
        return lengths
    with quiet():
        copy = lengths.clone()
        mark_resident(copy, mode.engine.memory)
    return copy


def _eigvals(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`eigvals` asks for vectors as well where a mode is on; a GPU would not."""
    matrix = args[0] if args else kwargs["input"]
    row = row_of("aten._linalg_eigvals")
    if not is_resident(matrix) or row is None:
        return mode.call(func, args, kwargs, Target.INFER)
    out = mode.muted(func, args, kwargs)
    for call in row.calls(OpCall(row.name, (matrix,), {}, {"self": 0})):
        mode.engine.run(mode.state, call, row.name)
    return out


def _svd(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`svd` takes the name of a solver on CUDA only."""
    matrix = args[0] if args else kwargs.get("A")
    if kwargs.get("driver") is not None and isinstance(matrix, torch.Tensor) and is_resident(matrix):
        kwargs = {**kwargs, "driver": None}
    return mode.call(func, args, kwargs, Target.INFER)


def handlers() -> dict[Any, Handler]:
    """Return the handlers of this family."""
    tensor: Any = torch.Tensor
    return {
        torch.nn.functional.one_hot: _one_hot,
        torch.quantile: _unchecked,
        torch.nanquantile: _unchecked,
        tensor.quantile: _unchecked,
        tensor.nanquantile: _unchecked,
        torch.ctc_loss: _ctc_loss,
        torch.linalg.eigvals: _eigvals,
        torch.linalg.svd: _svd,
        torch.linalg.svdvals: _svd,
    }
