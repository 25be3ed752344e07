"""Replays copies between host and GPU without waiting: reads as recorded values, uploads from pinned memory."""

from __future__ import annotations

from typing import Any

import torch

from syncwatch.bench.replay.values import RecordedValue
from syncwatch.bench.replay.ways import Arguments, Keywords, Original, Result, Way, is_cuda, pinned, uploaded


def _record_move(original: Original, args: Arguments, kwargs: Keywords) -> Result:
    result = original(*args, **kwargs)
    if is_cuda(args[0]) == is_cuda(result):
        return result, None
    return result, RecordedValue(pinned(result)) if is_cuda(result) else RecordedValue.of(result)


def _replay_move(_original: Original, args: Arguments, _kwargs: Keywords, value: Any) -> Any:
    return value.give() if is_cuda(args[0]) else uploaded(value.value)


def _record_upload(original: Original, args: Arguments, kwargs: Keywords) -> Result:
    result = original(*args, **kwargs)
    from_host = is_cuda(result) and not any(is_cuda(argument) for argument in args)
    return result, RecordedValue(pinned(result)) if from_host else None


def _replay_upload(_original: Original, _args: Arguments, _kwargs: Keywords, value: Any) -> Any:
    return uploaded(value.value)


def _record_copy(original: Original, args: Arguments, kwargs: Keywords) -> Result:
    result = original(*args, **kwargs)
    source = args[1] if len(args) > 1 else kwargs.get("src")
    if not isinstance(source, torch.Tensor) or is_cuda(source) == is_cuda(args[0]):
        return result, None
    return result, RecordedValue(pinned(args[0])) if is_cuda(args[0]) else RecordedValue.of(args[0])


def _replay_copy(original: Original, args: Arguments, _kwargs: Keywords, value: Any) -> Any:
    return original(args[0], value.value, non_blocking=True)


MOVE = Way(_record_move, _replay_move)
"""`to` and `cuda`, in either direction."""
UPLOAD = Way(_record_upload, _replay_upload)
"""A GPU tensor made from Python data."""
COPY_INTO = Way(_record_copy, _replay_copy)
"""`target.copy_(source)` between host and GPU."""
