"""Keeps a million events in little memory: their numbers in one array, what they share only once.

A `SyncEvent` and the objects that it holds take 250 bytes, a `CopyEvent` 360 and a `KernelEvent` 330. Here a wait takes
48, a copy 64 and a kernel 48: most of what an event says was said by an earlier one of the same line.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, Generic, TypeVar, cast, overload

from syncwatch.model.events import Call, CopyEvent, Direction, HostMemory, KernelEvent, SyncEvent, SyncKind

Event = TypeVar("Event", SyncEvent, CopyEvent, KernelEvent)
_NONE = -(1 << 63)
"""What stands for None among the numbers; no clock shows it."""
_PIECE = 1 << 16
"""Events that are added at once, so that few numbers are held twice."""


class Compact(Sequence[Event], Generic[Event]):
    """Events in the order in which they were added; each is made when it is asked for.

    Any thread may add. What `frozen` returns does not grow, and compares and encodes as the tuple of its events.
    """

    _WIDTH: ClassVar[int]
    """Numbers of one event; the first says which of `_shared` it has."""

    def __init__(self) -> None:
        self._numbers = array("q")
        self._shared: list[tuple[Any, ...]] = []
        self._known: dict[tuple[Any, ...], int] = {}
        self._lock = threading.Lock()
        self._count: int | None = None
        """How many there are once it is frozen."""

    @abstractmethod
    def append(self, event: Event) -> None:
        """Add `event`."""

    @abstractmethod
    def _event(self, row: Sequence[int]) -> Event:
        """Return the event that `row` tells of."""

    def _add(self, key: tuple[Any, ...], shared: tuple[Any, ...], *numbers: int) -> None:
        """Add one event.

        Args:
            key: what tells `shared` from others; not itself, since the hash of an enum is slow.
            shared: what it may share with other events.
            numbers: the rest.
        """
        place = self._known.get(key)
        if place is None:
            place = self._entered(key, shared)
        # In one call, which no other thread can interrupt under the GIL.
        self._numbers.extend((place, *numbers))

    def _place(self, shared: tuple[Any, ...]) -> int:
        place = self._known.get(shared)
        return self._entered(shared, shared) if place is None else place

    def _entered(self, key: tuple[Any, ...], shared: tuple[Any, ...]) -> int:
        with self._lock:
            place = self._known.get(key)
            if place is None:
                place = len(self._shared)
                self._shared.append(shared)
                self._known[key] = place
            return place

    def frozen(self) -> tuple[Event, ...]:
        """Return what was added until now; no tuple in truth, and used as one."""
        view = type(self)()
        view._numbers, view._shared, view._count = self._numbers, self._shared, len(self)
        return cast("tuple[Event, ...]", view)

    def __len__(self) -> int:
        return len(self._numbers) // self._WIDTH if self._count is None else self._count

    def __iter__(self) -> Iterator[Event]:
        return map(self._event, self.rows())

    def rows(self) -> Iterator[tuple[int, ...]]:
        """Yield the numbers of each event."""
        numbers = iter(self._numbers)
        return islice(zip(*[numbers] * self._WIDTH, strict=False), len(self))

    @overload
    def __getitem__(self, index: int) -> Event: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...

    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        if isinstance(index, slice):
            return tuple(self[number] for number in range(*index.indices(len(self))))
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(index)
        return self._event(self._numbers[number * self._WIDTH : (number + 1) * self._WIDTH])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (tuple, Compact)):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __add__(self, other: tuple[Event, ...]) -> tuple[Event, ...]:
        return tuple(self) + tuple(other)

    def __radd__(self, other: tuple[Event, ...]) -> tuple[Event, ...]:
        return tuple(other) + tuple(self)

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __getstate__(self) -> dict[str, Any]:
        return {"events": tuple(self), "frozen": self._count is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Compact.__init__(self)
        for event in state["events"]:
            self.append(event)
        self._count = len(self) if state["frozen"] else None


class CompactSyncs(Compact[SyncEvent]):
    """Waits."""

    _WIDTH = 6

    def append(self, event: SyncEvent) -> None:
        """Add `event`."""
        self.add(
            event.step,
            event.start_ns,
            event.end_ns,
            event.kind,
            (
                *(event.thread, event.explicit, event.op, event.stack, event.stream, event.pacing, event.seen_by),
                *(event.api, event.within, event.allowed, event.device),
            ),
            event.event,
            event.watch_ns,
        )

    def add(
        self,
        step: int | None,
        start: int | None,
        end: int | None,
        kind: SyncKind,
        shared: tuple[Any, ...],
        event: int | None = None,
        watch_ns: int = 0,
    ) -> None:
        """Add a wait; `shared` is the rest of it, from the thread on in the order of `append`."""
        self._add((kind._value_, shared), (kind, shared), _told(step), _told(start), _told(end), _told(event), watch_ns)

    def _event(self, row: Sequence[int]) -> SyncEvent:
        place, step, start, end, waited_for, watch_ns = row
        kind, (thread, explicit, op, stack, stream, pacing, seen_by, api, within, allowed, device) = self._shared[place]
        return SyncEvent(
            step=_known(step),
            thread=thread,
            kind=kind,
            explicit=explicit,
            op=op,
            stack=stack,
            stream=stream,
            start_ns=_known(start),
            end_ns=_known(end),
            pacing=pacing,
            seen_by=seen_by,
            api=api,
            within=within,
            allowed=allowed,
            device=device,
            event=_known(waited_for),
            watch_ns=watch_ns,
        )


class CompactCopies(Compact[CopyEvent]):
    """Copies."""

    _WIDTH = 8

    def append(self, event: CopyEvent) -> None:
        """Add `event`."""
        self.add(
            event.step,
            event.bytes,
            event.start_ns,
            event.end_ns,
            event.call,
            (event.direction, event.memory),
            (event.thread, event.blocking, event.op, event.stack, event.stream, event.device),
        )

    def add(
        self,
        step: int | None,
        size: int,
        start: int | None,
        end: int | None,
        call: Call | None,
        way: tuple[Direction, HostMemory | None],
        shared: tuple[Any, ...],
    ) -> None:
        """Add a copy; `shared` is the rest of it, from the thread on in the order of `append`."""
        direction, memory = way
        key = (direction._value_, memory and memory._value_, shared, *_caller(call))
        watched = 0 if call is None else call.watch_ns
        numbers = (_told(step), size, _told(start), _told(end), *_called(call), watched)
        self._add(key, (way, shared, _caller(call)), *numbers)

    def _event(self, row: Sequence[int]) -> CopyEvent:
        place, step, size, start, end, called, returned, watched = row
        (direction, memory), (thread, blocking, op, stack, stream, device), caller = self._shared[place]
        return CopyEvent(
            step=_known(step),
            thread=thread,
            direction=direction,
            memory=memory,
            bytes=size,
            blocking=blocking,
            op=op,
            stack=stack,
            stream=stream,
            start_ns=_known(start),
            end_ns=_known(end),
            call=_call(caller, called, returned, watched),
            device=device,
        )


class CompactKernels(Compact[KernelEvent]):
    """Kernels."""

    _WIDTH = 6

    def append(self, event: KernelEvent) -> None:
        """Add `event`."""
        shared = (event.stream, event.name, event.device, event.memset_bytes, *_caller(event.call))
        self._add(shared, shared, _told(event.step), event.start_ns, event.end_ns, *_called(event.call))

    def add(
        self, step: int | None, stream: int, name: str, start: int, end: int, thread: int, called: tuple[str, int, int]
    ) -> None:
        """Add a kernel that `thread` launched by the runtime call `called`, on the only GPU."""
        launch, begun, returned = called
        shared = (stream, name, 0, None, thread, launch)
        self._add(shared, shared, _told(step), start, end, begun, returned)

    def extend(self, rows: array[int], shared: Sequence[tuple[Any, ...]], steps: Sequence[int | None]) -> None:
        """Add many kernels at once.

        Args:
            rows: six numbers for each, as they are kept here, but with the places in `shared` and `steps`. Where there
                are none yet it is kept itself, and is not the caller's any more: two million take 96 MB.
            shared: stream, name, GPU, how many bytes a memset sets, thread and runtime call of the launch.
            steps: step numbers; a place of -1 stands for none.
        """
        places = [self._place(each) for each in shared]
        told = [*(_told(step) for step in steps), _NONE]
        for begin in range(0, len(rows), self._WIDTH * _PIECE):
            end = min(len(rows), begin + self._WIDTH * _PIECE)
            for column, known in ((0, places), (1, told)):
                at = slice(begin + column, end, self._WIDTH)
                rows[at] = array("q", map(known.__getitem__, rows[at]))
        if self._numbers:
            self._numbers.extend(rows)
        else:
            self._numbers = rows

    def _event(self, row: Sequence[int]) -> KernelEvent:
        place, step, start, end, called, returned = row
        stream, name, device, memset_bytes, *caller = self._shared[place]
        return KernelEvent(
            _known(step), stream, name, start, end, _call(caller, called, returned), device, memset_bytes
        )


Work = tuple[int, "int | None", "int | None", int, int]
"""GPU, stream, step, start and end of a kernel or copy."""


def work_of(events: Sequence[KernelEvent] | Sequence[CopyEvent]) -> Iterator[Work]:
    """Yield what the time line has of each kernel or copy that has a time, without making the events."""
    if isinstance(events, CompactKernels):
        shared = [(each[2], each[0]) for each in events._shared]
        for place, step, start, end, _, _ in events.rows():
            yield *shared[place], _known(step), start, end
    elif isinstance(events, CompactCopies):
        shared = [(rest[5], rest[4]) for _, rest, _ in events._shared]
        for place, step, _, start, end, _, _, _ in events.rows():
            if start != _NONE and end != _NONE:
                yield *shared[place], _known(step), start, end
    else:
        for event in events:
            if event.start_ns is not None and event.end_ns is not None:
                yield event.device, event.stream, event.step, event.start_ns, event.end_ns


Launched = tuple[int, int, int, int, int, int, int]
"""GPU, stream, start and end of a kernel; thread, begin and end of the call that launched it."""


def launched(kernels: Sequence[KernelEvent]) -> Iterator[Launched]:
    """Yield what a replay has of each kernel whose launch is known, without making the events."""
    if isinstance(kernels, CompactKernels):
        shared = [(each[2], each[0], each[4]) for each in kernels._shared]
        for place, _, start, end, called, returned in kernels.rows():
            if called != _NONE:
                device, stream, thread = shared[place]
                yield device, stream, start, end, thread, called, returned
    else:
        for event in kernels:
            call = event.call
            if call is not None:
                yield event.device, event.stream, event.start_ns, event.end_ns, call.thread, call.start_ns, call.end_ns


def as_tuple(value: Any) -> Any:
    """Return the tuple that a `Compact` stands for, for an encoder that does not know it.

    Raises:
        TypeError: if it is anything else.
    """
    if isinstance(value, Compact):
        return tuple(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


def _told(number: int | None) -> int:
    return _NONE if number is None else number


def _known(number: int) -> int | None:
    return None if number == _NONE else number


def _caller(call: Call | None) -> tuple[Any, ...]:
    return (None, None) if call is None else (call.thread, call.name)


def _called(call: Call | None) -> tuple[int, int]:
    return (_NONE, _NONE) if call is None else (call.start_ns, call.end_ns)


def _call(caller: Sequence[Any], called: int, returned: int, watched: int = 0) -> Call | None:
    return None if called == _NONE else Call(caller[0], caller[1], called, returned, watched)
