"""Answers: what do lists do between square brackets? On CUDA each becomes an upload."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from syncwatch.sense.virtual import op_names
from syncwatch.sense.virtual.engine import Target
from syncwatch.sense.virtual.function_mode import Handler, VirtualFunctionMode
from syncwatch.sense.virtual.quiet import quiet
from syncwatch.sense.virtual.residency import is_resident, mark_resident
from syncwatch.sense.virtual.runtime_calls import upload

_SEQUENCES = (list, range, np.ndarray)
_TUPLE_LIMIT = 32
"""A longer list is never taken for a tuple of indices (`treatSequenceAsTuple`)."""


def _getitem(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, index = args
    if isinstance(index, (*_SEQUENCES, tuple)) and is_resident(tensor):
        args = (tensor, _on_device(mode, index))
    return mode.call(func, args, kwargs, Target.INFER)


def _setitem(mode: VirtualFunctionMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor, index, value = args
    if isinstance(index, (*_SEQUENCES, tuple)) and is_resident(tensor):
        args = (tensor, _on_device(mode, index), value)
    return mode.call(func, args, kwargs, Target.INFER)


def _on_device(mode: VirtualFunctionMode, index: Any) -> Any:
    """Return `index` with every list in it uploaded."""
    if isinstance(index, tuple):
        return tuple(_upload(mode, each) if isinstance(each, _SEQUENCES) else each for each in index)
    if isinstance(index, list) and _is_tuple_of_indices(index):
        return tuple(_upload(mode, each) if isinstance(each, (*_SEQUENCES, tuple)) else each for each in index)
    return _upload(mode, index)


def _upload(mode: VirtualFunctionMode, sequence: Any) -> torch.Tensor:
    with quiet():
        indices = torch.as_tensor(sequence if isinstance(sequence, np.ndarray) else list(sequence))
        if indices.dtype not in (torch.bool, torch.uint8):
            indices = indices.long()
        mark_resident(indices, mode.engine.memory)
    if indices.numel():
        mode.engine.run(mode.state, upload(indices.numel() * indices.element_size()), op_names.MOVE)
    return indices


def _is_tuple_of_indices(index: list[Any]) -> bool:
    if not _lists_are_tuples() or len(index) >= _TUPLE_LIMIT:
        return False
    return any(each is None or each is ... or isinstance(each, (slice, torch.Tensor, list, tuple)) for each in index)


@lru_cache(maxsize=1)
def _lists_are_tuples() -> bool:
    """Return whether this torch still takes `x[[[0, 1], [0, 1]]]` for `x[[0, 1], [0, 1]]`."""
    import warnings

    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.empty(2, 2, 2)[[[0, 1], [0, 1]]].dim() == 2


def handlers() -> dict[Any, Handler]:
    """Return the handlers of this family."""
    tensor: Any = torch.Tensor
    return {tensor.__getitem__: _getitem, tensor.__setitem__: _setitem}
