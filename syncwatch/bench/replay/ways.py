"""The ways to replay a call: how it is recorded, and how its result is given without waiting."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

Original = Callable[..., Any]
Arguments = tuple[Any, ...]
Keywords = dict[str, Any]
Result = tuple[Any, Any]
"""What the call gave, and what a replay needs; None for a call that did not wait."""


@dataclass(frozen=True, slots=True)
class CallReplay:
    """How the calls of one callable are recorded and replayed."""

    record: Callable[[Original, Arguments, Keywords], Result]
    """Runs the call."""
    replay: Callable[[Original, Arguments, Keywords, Any], Any]
    """Gives the result without waiting, from what `record` kept."""


def is_cuda(value: Any) -> bool:
    """Return whether `value` is a tensor on the GPU."""
    return isinstance(value, torch.Tensor) and value.is_cuda


def pinned(value: torch.Tensor) -> torch.Tensor:
    """Return a copy of `value` in pinned host memory."""
    return value.detach().cpu().pin_memory()


def uploaded(kept: torch.Tensor) -> torch.Tensor:
    """Return a copy of a pinned tensor on the GPU, without waiting."""
    return kept.to("cuda", non_blocking=True)


@dataclass(slots=True)
class RecordedValue:
    """A host value that was read once.

    A tensor is handed out as it is, since a copy for every replay would cost what the ceiling must not have; when the
    step has written to it, a fresh copy is handed out.
    """

    value: Any
    _handed: Any = None
    _version: int = field(default=0)

    @classmethod
    def of(cls, value: Any) -> RecordedValue:
        """Keep `value` so that later changes do not reach it."""
        return cls(value.clone() if isinstance(value, torch.Tensor) else copy.copy(value))

    def give(self) -> Any:
        """Return the value, as the step would have read it."""
        if not isinstance(self.value, torch.Tensor):
            return copy.copy(self.value)
        if self._handed is None or self._handed._version != self._version:
            self._handed = self.value.clone()
            self._version = self._handed._version
        return self._handed


def _record_value(original: Original, args: Arguments, kwargs: Keywords) -> Result:
    result = original(*args, **kwargs)
    return result, RecordedValue.of(result) if is_cuda(args[0]) and not is_cuda(result) else None


def _replay_value(_original: Original, _args: Arguments, _kwargs: Keywords, value: Any) -> Any:
    return value.give()


def _record_wait(original: Original, args: Arguments, kwargs: Keywords) -> Result:
    return original(*args, **kwargs), ()


def _replay_wait(_original: Original, _args: Arguments, _kwargs: Keywords, _value: Any) -> None:
    return None


HOST_VALUE = CallReplay(_record_value, _replay_value)
"""A number, a truth value, a list or a CPU tensor, read back from the GPU."""
WAIT = CallReplay(_record_wait, _replay_wait)
"""`synchronize()`."""


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


MOVE = CallReplay(_record_move, _replay_move)
"""`to` and `cuda`, in either direction."""
UPLOAD = CallReplay(_record_upload, _replay_upload)
"""A GPU tensor made from Python data."""
COPY_INTO = CallReplay(_record_copy, _replay_copy)
"""`target.copy_(source)` between host and GPU."""


def parts_of(tensor: torch.Tensor, index: Any) -> tuple[Any, ...] | None:
    """Return what a replay of `tensor[index]` needs, a part each; None where the index does not make the host wait."""
    if not tensor.is_cuda:
        return None
    found = tuple(_part_of(part) for part in _parts(index))
    return found if any(part is not None for part in found) else None


def replayed_index(index: Any, known: tuple[Any, ...]) -> Any:
    """Return an index that gives the same without waiting."""
    result: list[Any] = []
    for part, value in zip(_parts(index), known, strict=True):
        if value is None:
            result.append(part)
        elif _is_mask(part):
            result += torch.nonzero_static(part, size=value).unbind(1)
        elif isinstance(value, torch.Tensor):
            result.append(value.to("cuda", non_blocking=True))
        else:
            result.append(value)
    return tuple(result) if len(result) != 1 or isinstance(index, tuple) else result[0]


def _parts(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _part_of(part: Any) -> Any:
    if _is_mask(part):
        return int(part.sum())
    if isinstance(part, torch.Tensor):
        if part.is_cuda:
            return int(part) if part.dim() == 0 and not part.is_floating_point() else None
        return part.pin_memory() if part.dim() else None
    if isinstance(part, list):
        return torch.tensor(part).pin_memory()
    if isinstance(part, slice) and any(_is_scalar(bound) for bound in (part.start, part.stop, part.step)):
        return slice(*(int(bound) if _is_scalar(bound) else bound for bound in (part.start, part.stop, part.step)))
    return None


def _is_mask(part: Any) -> bool:
    return isinstance(part, torch.Tensor) and part.is_cuda and part.dtype in (torch.bool, torch.uint8)


def _is_scalar(bound: Any) -> bool:
    return isinstance(bound, torch.Tensor) and bound.is_cuda


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


NONZERO = CallReplay(_record_nonzero, _replay_nonzero)
WHERE = CallReplay(_record_where, _replay_where)
"""`torch.where(mask)` with one argument, which is `nonzero` as a tuple."""
MASKED_SELECT = CallReplay(_record_masked_select, _replay_masked_select)
REPEAT_INTERLEAVE = CallReplay(_record_repeat, _replay_repeat)
GET_ITEM = CallReplay(_record_index, _replay_get)
"""`x[index]` with a mask, host data or a bound on the GPU."""
SET_ITEM = CallReplay(_record_index, _replay_set)
"""`x[index] = value`, likewise."""
