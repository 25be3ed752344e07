"""Notes each driver call that can hold the host, from any library, with the line of Python that led to it."""

from __future__ import annotations

import itertools
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from struct import Struct
from threading import get_ident
from types import CodeType, FrameType
from typing import NamedTuple, overload

from syncwatch.model.events import SyncKind
from syncwatch.sense.cuda.driver_calls import DRIVER_CALLS, DriverCall
from syncwatch.sense.cuda.interrupts import is_of_a_signal, raise_later
from syncwatch.sense.cuda.native.library import OnCall, load
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.stacks import is_explicit, nearest_frame

NAME = "runtime_calls"
"""What this sensor is called in `seen_by` and in the coverage."""
_UNKNOWN = DriverCall("a driver call", SyncKind.STREAM)
"""Stands for a call that was not subscribed to, so that it counts as a wait without a line."""
Surroundings = tuple["int | None", int, bool, "int | None", "str | None"]
"""What `Recorder.surroundings` gives."""
_NUMBERS = 4096
"""More than there are callback ids."""


class NotedCall(NamedTuple):
    """One call."""

    number: int
    """Its callback id."""
    id: int
    """Its correlation id, which its records have too."""
    begin_ns: int
    end_ns: int
    bytes: int
    """Of a copy; `CAPTURED` where a CUDA graph was made of it, so that it copied nothing yet."""
    around: Surroundings
    stack: int
    """The number of its Python stack; -1 for none."""
    copy: int
    """The correlation id of the copy just before it at the same instruction; -1 for none."""
    native: int
    """The place of its native stack; -1 where that of an earlier call of the same line is as good."""
    explicit: bool
    """Whether the user asked for the wait."""

    @property
    def call(self) -> DriverCall:
        """What the call does."""
        return DRIVER_CALLS.get(self.number, _UNKNOWN)


_WIDTH = len(NotedCall._fields)
_STACK = NotedCall._fields.index("stack")
_NO_WAIT = (None, SyncKind.ALLOCATION)
_ROW = Struct(f"{_WIDTH}q")
"""A `NotedCall` in 80 bytes; to pack and append one takes 90 ns, to extend an array by ten numbers 320."""


class NotedCalls(Sequence[NotedCall]):
    """The calls that were noted until now; each is made when it is asked for, since it takes 300 bytes."""

    def __init__(self, rows: array[int], around: Mapping[Surroundings, int]) -> None:
        """Hold the calls so far; both may grow, and what is around a call is there before its row."""
        self._rows, self._count = rows, len(rows) // _WIDTH
        self._around = {number: each for each, number in dict(around).items()}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> NotedCall: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[NotedCall]: ...

    def __getitem__(self, index: int | slice) -> NotedCall | Sequence[NotedCall]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        at = range(self._count)[index] * _WIDTH
        row = self._rows[at : at + _WIDTH]
        number, identity, begin, end, size, around, stack, copy, native, asked = row
        return NotedCall(number, identity, begin, end, size, self._around[around], stack, copy, native, bool(asked))


@dataclass(slots=True)
class RuntimeCalls:
    """The calls of one watch, in the order in which they returned."""

    recorder: Recorder
    native_stack: Callable[[], tuple[int, ...]]
    """Takes the return addresses of the calling thread's native stack."""
    on_new_line: Callable[[], None] = lambda: None
    """Called when a line leads to a call that it did not lead to before."""
    native_stacks: dict[int, tuple[int, ...]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    """What went wrong while a call was looked at; that call has no line."""
    _rows: array[int] = field(default_factory=lambda: array("q"))
    _around: dict[Surroundings, int] = field(default_factory=dict)
    """The number of what is around a call, in the rows. No lock: to collect garbage may free memory of the GPU."""
    _fresh: Iterator[int] = field(default_factory=itertools.count)
    _fresh_native: Iterator[int] = field(default_factory=itertools.count)
    _over: list[bool] = field(default_factory=list)
    """Not empty once the watch has ended; a list, which the handler looks into faster than at an attribute."""

    def noted(self) -> NotedCalls:
        """Return the calls so far."""
        return NotedCalls(self._rows, self._around)

    def _number_of(self, around: Surroundings) -> int:
        return self._around.setdefault(around, next(self._fresh))

    def waits_at(self) -> dict[int, int]:
        """Return how many waits each instruction of Python led to, by `place_of`; the allocator's are none."""
        found: dict[int, int] = {}
        # A call may come between the two columns.
        columns = zip(self._rows[0::_WIDTH], self._rows[_STACK::_WIDTH], strict=False)
        for (number, stack), count in Counter(columns).items():
            if stack >= 0 and DRIVER_CALLS.get(number, _UNKNOWN).kind not in _NO_WAIT:
                place = place_at(*self.recorder.innermost(stack))
                found[place] = found.get(place, 0) + count
        return found

    @property
    def has_ended(self) -> bool:
        """Whether further calls are not the program's."""
        return bool(self._over)

    def end(self) -> None:
        """Note no further call."""
        self._over.append(True)

    def handler(self) -> OnCall:
        """Return what is called at the end of each call; a closure, as attribute look-ups would cost a third."""
        copied: dict[int, tuple[int, int, int, int, int, int]] = {}
        with_native: set[int] = set()
        is_copy = frozenset(number for number, call in DRIVER_CALLS.items() if call.kind is None)
        over, known, number_of = self._over, self._around, self._number_of
        getframe, note, row = sys._getframe, self._rows.frombytes, _ROW.pack
        recorder = self.recorder
        find_stack, surroundings, new_line = recorder.stack, recorder.surroundings, self.on_new_line

        def on_call(number: int, identity: int, begin: int, end: int, size: int) -> None:
            if over:
                return
            try:
                frame = nearest_frame(getframe().f_back)
                ident = get_ident()
                if frame is None:
                    around = number_of(surroundings())
                    note(row(number, identity, begin, end, size, around, -1, -1, self._native(), False))
                    return
                last = copied.pop(ident, None)
                if last is not None and (
                    last[0] != id(frame) or last[1] != frame.f_lasti or last[5] != recorder.steps_begun
                ):
                    # The same instruction of the next step, or a frame that has the number of one that is gone.
                    last = None
                copies = number in is_copy
                if last is not None and not copies:
                    # A read copies and then waits at one instruction.
                    _, _, stack, around, copy, _ = last
                    native = -1
                else:
                    stack, here = find_stack(frame), surroundings()
                    if (around := known.get(here, -1)) < 0:
                        around = number_of(here)
                    copy = last[4] if last is not None and (stack, around) == last[2:4] else -1
                    native = -1
                    if stack * _NUMBERS + number not in with_native:
                        with_native.add(stack * _NUMBERS + number)
                        native = self._native()
                        new_line()
                if copies:
                    copied[ident] = id(frame), frame.f_lasti, stack, around, identity, recorder.steps_begun
                    note(row(number, identity, begin, end, size, around, stack, copy, native, False))
                    return
                explicit = copy < 0 and is_explicit(frame)
                note(row(number, identity, begin, end, 0, around, stack, copy, native, explicit))
            except BaseException as error:
                if is_of_a_signal(error):
                    raise_later(load(), error)
                else:
                    self.failures.append(f"{type(error).__name__}: {error}")
                self.keep(number, identity, begin, end)

        return on_call

    def _native(self) -> int:
        place = next(self._fresh_native)
        self.native_stacks[place] = self.native_stack()
        return place

    def keep(self, number: int, identity: int, begin: int, end: int) -> None:
        """Note the call without a line, so that it is not lost."""
        around = self._number_of((None, self.recorder.thread(), False, None, None))
        self._rows.frombytes(_ROW.pack(number, identity, begin, end, 0, around, -1, -1, -1, False))


def place_of(frame: FrameType) -> int:
    """Return a number for the instruction that `frame` is at; to hash its code would take 0.3 us.

    Stacks that are recorded hold the code, so that no other one has the number.
    """
    return place_at(frame.f_code, frame.f_lasti)


def place_at(code: CodeType, lasti: int) -> int:
    """Return the number of an instruction of `code`."""
    return id(code) << 24 | lasti
