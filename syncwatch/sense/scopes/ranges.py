"""Gives a part of the run a name: NVTX ranges that nsys, torch.profiler and the recorder all see."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import nvtx
import torch

from syncwatch.model.events import PACING_RANGE, STEP_RANGE
from syncwatch.sense import active
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.scopes import range_ledger, scope
from syncwatch.sense.scopes.open_steps import Numbers, OpenStep


class annotate:  # noqa: N801  # used as `with annotate("layer 3"):`, like nvtx.annotate
    """Names everything inside as one NVTX range on this thread.

    Args:
        name: what the range is called; keep ':', ',', '/' and '@' out, which nsys filters cannot take.
    """

    __slots__ = ("_name", "_profiled")

    def __init__(self, name: str) -> None:
        self._name = name
        self._profiled: Any = None

    def __enter__(self) -> None:
        with range_ledger.suppressed():
            nvtx.push_range(self._name)
            if active.profiling():
                self._profiled = torch.autograd.profiler.record_function(self._name)
                self._profiled.__enter__()
        range_ledger.begin(scope.Entered(self._name, self, scope.Ends.WITH_ITS_BLOCK), ours=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        range_ledger.end(self)
        with range_ledger.suppressed():
            if self._profiled is not None:
                self._profiled.__exit__(kind, error, trace)
            nvtx.pop_range()


class step:  # noqa: N801  # used as `with syncwatch.step():`
    """Marks one step of the user's own loop: figures are then given for each step; also an NVTX range.

    Args:
        warmup: whether the step is left out of the figures.
    """

    __slots__ = ("_block", "_range", "_started", "_warmup")

    def __init__(self, *, warmup: bool = False) -> None:
        self._warmup = warmup
        self._started: list[tuple[Recorder, int, int]] = []
        self._range: annotate | None = None
        self._block: scope.Block[Numbers] | None = None

    def __enter__(self) -> None:
        self._started = [(recorder, recorder.begin_step(), recorder.now_ns()) for recorder in active.recorders()]
        self._block = scope.STEPS.enter(tuple((recorder, index) for recorder, index, _ in self._started))
        for recorder, index, _ in self._started:
            recorder.open_steps.append(OpenStep(index, self._block, warmup=self._warmup))
        self._tell()
        number = self._started[-1][1] if self._started else None
        self._range = annotate(STEP_RANGE if number is None else f"{STEP_RANGE} {number}")
        self._range.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._range is not None:
            self._range.__exit__(kind, error, trace)
        for recorder, index, start in self._started:
            recorder.end_step(index, start, warmup=self._warmup)
        if self._block is not None:
            scope.STEPS.leave(self._block)
        self._tell()
        self._started = []

    def _tell(self) -> None:
        for recorder, *_ in self._started:
            for told in tuple(recorder.step_changed):
                told()


@contextlib.contextmanager
def pacing() -> Iterator[None]:
    """Mark every wait inside as the runner's own: it is stated, and not counted as the target's."""
    recorders = active.recorders()
    for recorder in recorders:
        recorder.pacing = True
    try:
        with annotate(PACING_RANGE):
            yield
    finally:
        for recorder in recorders:
            recorder.pacing = False
