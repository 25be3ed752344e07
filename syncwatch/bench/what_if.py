"""Measures what removing a wait can gain at best.

Steps with its host value replayed run in the rounds of plain ones.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from syncwatch.bench.replay.tape import Calls, Mode, Reader, Tape, readers, wrapped
from syncwatch.bench.replay.ways import RecordedValue
from syncwatch.bench.scenario import Workload
from syncwatch.model.session import Line, Replay

MOST_LINES = 8
"""Lines that are replayed one at a time, the worst first; all of them are replayed together."""
_COMPARED_STEPS = 2

Times = Callable[[Workload, str], Sequence[int]]
"""Runs the steps of a variant and returns the times of those that count, in ns."""


@dataclass(slots=True)
class _Candidate:
    """Some lines to replay."""

    lines: tuple[Line, ...]
    rounds: list[tuple[int, ...]] = field(default_factory=list)
    refused: str | None = None


class WhatIf:
    """Records the host values of a variant's steps, and times the steps with them replayed.

    Args:
        workload: what runs.
        variant: which way to run it.
        lines: where it waits, the worst first.
        steps: how many steps a round has; each is recorded.
    """

    def __init__(self, workload: Workload, variant: str, lines: Sequence[Line], steps: int) -> None:
        self._workload = workload
        self._variant = variant
        self._steps = steps
        self._tape = Tape(frozenset(lines))
        self._readers: Mapping[str, Reader] = {reader.key: reader for reader in readers()}
        self._outputs: list[torch.Tensor] = []
        self._lines = tuple(lines)
        self._candidates = [_Candidate((line,)) for line in lines[:MOST_LINES]]

    def prepare(self) -> None:
        """Record the steps twice, and refuse what cannot be replayed."""
        first = self._recorded()
        unsteady = _differing(first, self._recorded())
        for candidate in self._candidates:
            candidate.refused = self._why_not(candidate, unsteady)
        refused = {candidate.lines for candidate in self._candidates if candidate.refused is not None}
        together = _Candidate(tuple(line for line in self._lines if (line,) not in refused))
        if len(together.lines) > 1:
            together.refused = self._why_not(together, unsteady)
            self._candidates.append(together)

    def lanes(self, times: Times) -> Iterator[Callable[[], None]]:
        """Yield for each replay that is possible what runs one round of it and keeps the times."""
        for candidate in self._candidates:
            if candidate.refused is None:
                yield functools.partial(self._run, candidate, times)

    def replays(self) -> tuple[Replay, ...]:
        """Return what was measured."""
        return tuple(Replay(each.lines, tuple(each.rounds), each.refused) for each in self._candidates)

    def _run(self, candidate: _Candidate, times: Times) -> None:
        with self._replaying(candidate.lines):
            candidate.rounds.append(tuple(times(_Taped(self._workload, self._tape), self._variant)))

    def _recorded(self) -> Calls:
        """Run every step once and return what its waiting calls gave."""
        self._tape.calls = {}
        self._outputs.clear()
        self._tape.mode = Mode.RECORD
        try:
            with wrapped(self._tape, self._readers.values()):
                for index in range(self._steps):
                    self._tape.begin(index)
                    output = self._workload.step(self._variant, index)
                    if index < _COMPARED_STEPS:
                        self._outputs.append(output.clone())
        finally:
            self._tape.mode = Mode.OFF
        torch.cuda.synchronize()
        return self._tape.calls

    def _why_not(self, candidate: _Candidate, unsteady: frozenset[Line]) -> str | None:
        silent = [line for line in candidate.lines if not self._tape.readers_of([line])]
        if silent and len(silent) == len(candidate.lines):
            return f"{_named(silent)} waits inside a call that cannot be replayed from outside."
        feeding = [line for line in candidate.lines if line in unsteady]
        if feeding:
            return f"{_named(feeding)} reads another value each time the step is run: it feeds back into the next step."
        return self._fails(candidate)

    def _fails(self, candidate: _Candidate) -> str | None:
        """Return why a replay of the first steps does not give what they gave, or None."""
        try:
            with self._replaying(candidate.lines):
                for index, expected in enumerate(self._outputs):
                    self._tape.begin(index)
                    if not torch.equal(self._workload.step(self._variant, index), expected):
                        return "With the values replayed the step gives another output: they feed back into it."
        except Exception as error:  # the workload is the user's, and may raise anything
            first = str(error).splitlines()[0] if str(error) else ""
            return f"The replay ended in {type(error).__name__}: {first}"
        return None

    @contextlib.contextmanager
    def _replaying(self, lines: tuple[Line, ...]) -> Iterator[None]:
        names = self._tape.readers_of(lines)
        self._tape.played = frozenset(lines)
        self._tape.mode = Mode.REPLAY if names else Mode.OFF
        try:
            with wrapped(self._tape, [reader for key, reader in self._readers.items() if key in names]):
                yield
        finally:
            self._tape.mode = Mode.OFF


@dataclass(frozen=True, slots=True)
class _Taped:
    """A workload that tells the tape which step runs."""

    workload: Workload
    tape: Tape

    def step(self, variant: str, index: int) -> torch.Tensor:
        self.tape.begin(index)
        return self.workload.step(variant, index)


def _differing(first: Calls, second: Calls) -> frozenset[Line]:
    """Return the lines whose calls gave other values the second time."""
    keys = first.keys() | second.keys()
    return frozenset(key[1] for key in keys if not _same(first.get(key, []), second.get(key, [])))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, RecordedValue):
        return isinstance(other, RecordedValue) and _same(one.value, other.value)
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, tuple | list):
        return isinstance(other, tuple | list) and len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other) or (one != one and other != other)


def _named(lines: Sequence[Line]) -> str:
    return ", ".join(f"{line.file}:{line.line}" for line in lines)
