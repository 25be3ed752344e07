"""Gives a part of the run a name, and tells every recorder that listens when a range begins or ends."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from types import TracebackType

import nvtx

from syncwatch.model.events import PACING_RANGE, STEP_RANGE
from syncwatch.sense import active
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.scopes import scope
from syncwatch.sense.scopes.open_steps import Numbers, OpenStep


class IdentityKey:
    """A key that is equal to what holds the same object: tensors compare their values, and handles may have no hash."""

    __slots__ = ("_held",)

    def __init__(self, held: object) -> None:
        self._held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdentityKey) and other._held is self._held

    def __hash__(self) -> int:
        return id(self._held)


class _Suppression(threading.local):
    suppressed = False


_suppression = _Suppression()


def begin(entered: scope.OpenRange, *, ours: bool = False) -> None:
    """Let a range begin around what runs now; of `ours` the end is always recorded."""
    if ours:
        entered.era = None
    recorders = active.recorders()
    if recorders and entered.block:
        # Not where nobody watches: it takes 2.6 us under 30 frames.
        entered.owner = scope.owner_of(sys._getframe(1))
    scope.enter(entered)
    for recorder in recorders:
        recorder.range_begins(entered)


def end(key: object) -> None:
    """Let the innermost range with `key` end; nothing where it began before anybody watched."""
    for entered in scope.leave(key):
        for recorder in active.recorders():
            recorder.range_ends(entered)


def is_own_call() -> bool:
    """Return whether a call in this thread is the program's own, and not one inside a call that is recorded already."""
    return not _suppression.suppressed


@contextlib.contextmanager
def suppressed() -> Iterator[None]:
    """Hear nothing of this thread inside: one range is often made by several functions that call one another."""
    before, _suppression.suppressed = _suppression.suppressed, True
    try:
        yield
    finally:
        _suppression.suppressed = before


class annotate:  # noqa: N801  # used as `with annotate("layer 3"):`, like nvtx.annotate
    """Names everything inside as one NVTX range on this thread.

    Args:
        name: what the range is called; keep ':', ',', '/' and '@' out, which nsys filters cannot take.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        with suppressed():
            nvtx.push_range(self._name)
        begin(scope.OpenRange(self._name, self, scope.RangeEnd.WITH_ITS_BLOCK), ours=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self)
        with suppressed():
            nvtx.pop_range()


class step:  # noqa: N801  # used as `with syncwatch.step():`
    """Marks one step of the user's own loop: figures are then given for each step; also an NVTX range.

    Args:
        warmup: whether the step is left out of the figures.
    """

    __slots__ = ("_begun", "_block", "_counted", "_range", "_started", "_warmup")

    def __init__(self, *, warmup: bool = False) -> None:
        self._warmup = warmup
        self._started: list[tuple[Recorder, int, int]] = []
        self._begun: list[int] = []
        self._range: annotate | None = None
        self._block: scope.ScopeBlock[Numbers] | None = None
        self._counted: tuple[active.StepCounter, int] | None = None

    def __enter__(self) -> None:
        asked = [recorder.now_ns() for recorder in active.recorders()]
        # First: a window may begin with this step, and then it is recorded.
        self._counted = _counted()
        recorders = active.recorders()
        # A recorder that begins with this step was not asked before.
        asked = asked if len(asked) == len(recorders) else [recorder.now_ns() for recorder in recorders]
        self._started = [(each, each.begin_step(), moment) for each, moment in zip(recorders, asked, strict=True)]
        self._block = scope.STEPS.enter(tuple((recorder, index) for recorder, index, _ in self._started))
        for recorder, index, _ in self._started:
            recorder.open_steps.append(OpenStep(index, self._block, warmup=self._warmup))
        self._tell()
        number = self._started[-1][1] if self._started else None
        self._range = annotate(STEP_RANGE if number is None else f"{STEP_RANGE} {number}")
        self._range.__enter__()
        # Last: from here on the time is the program's.
        self._begun = [recorder.now_ns() for recorder, *_ in self._started]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended = [recorder.now_ns() for recorder, *_ in self._started]
        if self._range is not None:
            self._range.__exit__(kind, error, trace)
        for (recorder, index, asked), begun, end in zip(self._started, self._begun, ended, strict=True):
            recorder.end_step(index, (begun, end), warmup=self._warmup, before_ns=begun - asked)
        if self._block is not None:
            scope.STEPS.leave(self._block)
        self._tell()
        self._started = []
        counted, self._counted = self._counted, None
        if counted is not None:
            counter, number = counted
            counter.step_ended(number)

    def _tell(self) -> None:
        for recorder, *_ in self._started:
            for told in tuple(recorder.step_changed):
                told()


def _counted() -> tuple[active.StepCounter, int] | None:
    """Return who counts the step that is about to begin, and its number there."""
    counter = active.step_counter()
    number = None if counter is None else counter.step_begins()
    return None if counter is None or number is None else (counter, number)


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
