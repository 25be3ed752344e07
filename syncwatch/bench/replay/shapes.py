"""Replays operators that wait only to learn a size, with the size that they had when they were recorded."""

from __future__ import annotations

from typing import Any

import torch

from syncwatch.bench.replay.indexing import parts_of, replayed_index
from syncwatch.bench.replay.ways import Arguments, Keywords, Original, Result, Way, is_cuda


def _record_nonzero(original: Original, args: Arguments, kwargs: Keywords) -> Result:
    result = original(*args, **kwargs)
    waits = is_cuda(args[0]) and not kwargs.get("as_tuple", False)
    return result, (int(result.shape[0]),) if waits else None


def _replay_nonzero(_original: Original, args: Arguments, _kwargs: Keywords, value: Any) -> Any:
    return torch.nonzero_static(args[0], size=value[0])


def _record_where(original: Original, args: Arguments, kwargs: Keywords) -> Result:
    result = original(*args, **kwargs)
    return result, (int(result[0].shape[0]),) if len(args) == 1 and not kwargs and is_cuda(args[0]) else None


def _replay_where(_original: Original, args: Arguments, _kwargs: Keywords, value: Any) -> Any:
    return torch.nonzero_static(args[0], size=value[0]).unbind(1)


def _record_masked_select(original: Original, args: Arguments, kwargs: Keywords) -> Result:
    result = original(*args, **kwargs)
    return result, (int(result.shape[0]),) if is_cuda(args[0]) else None


def _replay_masked_select(_original: Original, args: Arguments, kwargs: Keywords, value: Any) -> Any:
    values, mask = torch.broadcast_tensors(args[0], args[1] if len(args) > 1 else kwargs["mask"])
    places = torch.nonzero_static(mask.reshape(-1), size=value[0]).squeeze(1)
    return values.reshape(-1).index_select(0, places)


def _record_repeat(original: Original, args: Arguments, kwargs: Keywords) -> Result:
    result = original(*args, **kwargs)
    repeats = args[1] if len(args) > 1 else kwargs.get("repeats", args[0])
    waits = is_cuda(repeats) and kwargs.get("output_size") is None
    dim = kwargs.get("dim", args[2] if len(args) > 2 else None)
    return result, (int(result.shape[dim or 0]),) if waits else None


def _replay_repeat(original: Original, args: Arguments, kwargs: Keywords, value: Any) -> Any:
    return original(*args, **{**kwargs, "output_size": value[0]})


def _record_index(original: Original, args: Arguments, kwargs: Keywords) -> Result:
    return original(*args, **kwargs), parts_of(args[0], args[1])


def _replay_get(original: Original, args: Arguments, _kwargs: Keywords, value: Any) -> Any:
    return original(args[0], replayed_index(args[1], value))


def _replay_set(original: Original, args: Arguments, _kwargs: Keywords, value: Any) -> Any:
    return original(args[0], replayed_index(args[1], value), args[2])


NONZERO = Way(_record_nonzero, _replay_nonzero)
WHERE = Way(_record_where, _replay_where)
"""`torch.where(mask)` with one argument, which is `nonzero` as a tuple."""
MASKED_SELECT = Way(_record_masked_select, _replay_masked_select)
REPEAT_INTERLEAVE = Way(_record_repeat, _replay_repeat)
GET_ITEM = Way(_record_index, _replay_get)
"""`x[index]` with a mask, host data or a bound on the GPU."""
SET_ITEM = Way(_record_index, _replay_set)
"""`x[index] = value`, likewise."""
