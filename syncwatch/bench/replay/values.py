"""Replays host values as they were when recorded; waits that the user asked for are left out."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch

from syncwatch.bench.replay.ways import Arguments, Keywords, Original, Result, Way, is_cuda


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


HOST_VALUE = Way(_record_value, _replay_value)
"""A number, a truth value, a list or a CPU tensor, read back from the GPU."""
WAIT = Way(_record_wait, _replay_wait)
"""`synchronize()`."""
