"""`torch.cuda.Stream` and `Event` on the virtual clock, with the same calls, and which device an argument names."""

from __future__ import annotations

from enum import Enum
from types import TracebackType
from typing import Any, ClassVar, Final

import torch

from syncwatch.model.events import SyncKind
from syncwatch.sense.virtual.clock.clock import DEFAULT_STREAM, Moment, StreamId, elapsed_ms
from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.operators import table

CUDA: Final = torch.device("cuda", 0)
CPU: Final = torch.device("cpu")


class TensorPlace(Enum):
    """Where a tensor is wanted."""

    DEVICE = "device"
    HOST = "host"
    ELSEWHERE = "elsewhere"
    """`meta` and the like: none of our business."""


def place_named(device: Any) -> TensorPlace:
    """Return the place that a device argument names.

    Raises:
        torch.AcceleratorError: for a second GPU; there is one.
    """
    if isinstance(device, int) and not isinstance(device, bool):
        device = torch.device("cuda", device)
    elif not isinstance(device, torch.device):
        device = torch.device(device)
    if device.type == "cuda":
        if device.index not in (None, 0):
            raise torch.AcceleratorError("CUDA error: invalid device ordinal")
        return TensorPlace.DEVICE
    return TensorPlace.HOST if device.type == "cpu" else TensorPlace.ELSEWHERE


_HIGHEST = -3
"""The most urgent priority that torch supports, whatever the GPU does."""


class VirtualStream:
    """A stream of the virtual device."""

    engine: ClassVar[Engine]
    stands_for: ClassVar[type]

    @property  # type: ignore[misc]  # in `object` it can be set too
    def __class__(self) -> type:
        """The class of torch that this stands for: `isinstance` asks it of a class that was imported before."""
        return self.stands_for

    def __init__(self, device: Any = None, priority: int = 0, **kwargs: Any) -> None:
        known = kwargs.get("stream_id")
        self.id = self.engine.clock.new_stream(priority) if known is None else StreamId(known)
        self.priority = max(min(priority, 0), _HIGHEST)
        self.device = CUDA
        self.device_index = 0
        self.device_type = 1
        self._outer: list[StreamId] = []

    @property
    def stream_id(self) -> int:
        """The number of the stream; 0 is the default one."""
        return self.id

    @property
    def cuda_stream(self) -> int:
        """The number in place of a pointer."""
        return self.id

    @staticmethod
    def priority_range() -> tuple[int, int]:
        """Return the lowest and the highest priority."""
        return (0, _HIGHEST)

    def synchronize(self) -> None:
        """Let the host wait for everything queued here."""
        engine = self.engine
        engine.refuse_explicit(SyncKind.STREAM)
        engine.wait(SyncKind.STREAM, op=table.EXPLICIT_OP, explicit=True, stream=self.id)

    def query(self) -> bool:
        """Return whether everything queued here is done; the host does not wait."""
        self.engine.clock.work(self.engine.rates.view_ns)
        return self.engine.clock.idle(self.id)

    def is_capturing(self) -> bool:
        """Return whether a CUDA graph is being captured."""
        return self.engine.capturing

    def wait_stream(self, stream: VirtualStream) -> None:
        """Let this stream wait for what is queued on `stream` now."""
        self.engine.clock.hold(self.id, Moment(stream.id, self.engine.clock.tail(stream.id)))

    def wait_event(self, event: VirtualEvent) -> None:
        """Let this stream wait for `event`."""
        event.wait(self)

    def record_event(self, event: VirtualEvent | None = None) -> VirtualEvent:
        """Record an event here and return it."""
        event = event or VirtualEvent()
        event.record(self)
        return event

    def __enter__(self) -> VirtualStream:
        clock = self.engine.clock
        self._outer.append(clock.stream())
        clock.set_stream(self.id)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.clock.set_stream(self._outer.pop())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VirtualStream) and other.id == self.id

    def __hash__(self) -> int:
        return hash((self.id, "cuda"))

    def __repr__(self) -> str:
        return f"<torch.cuda.Stream device={CUDA} cuda_stream={self.id:#x}>"


class ExternalVirtualStream(VirtualStream):
    """Stands for `torch.cuda.ExternalStream`: a stream that is known by its number."""

    def __init__(self, stream_ptr: int, device: Any = None, **kwargs: Any) -> None:
        super().__init__(device, stream_id=stream_ptr)


class VirtualEvent:
    """An event of the virtual device."""

    engine: ClassVar[Engine]
    stands_for: ClassVar[type]

    @property  # type: ignore[misc]  # in `object` it can be set too
    def __class__(self) -> type:
        """The class of torch that this stands for: `isinstance` asks it of a class that was imported before."""
        return self.stands_for

    def __init__(
        self, device: Any = None, *, enable_timing: bool = False, blocking: bool = False, **kwargs: Any
    ) -> None:
        self.device = CUDA
        self._timed = enable_timing
        self._moment: Moment | None = None

    def record(self, stream: VirtualStream | None = None) -> None:
        """Mark the end of what is queued on `stream`, the current one by default."""
        clock = self.engine.clock
        clock.work(self.engine.rates.view_ns)
        self._moment = clock.mark(clock.stream() if stream is None else StreamId(stream.stream_id))

    def wait(self, stream: VirtualStream | None = None) -> None:
        """Let `stream` wait for this event; the host goes on."""
        if self._moment is not None:
            where = self.engine.clock.stream() if stream is None else StreamId(stream.stream_id)
            self.engine.clock.hold(where, self._moment)

    def query(self) -> bool:
        """Return whether the event has passed; the host does not wait."""
        self.engine.clock.work(self.engine.rates.view_ns)
        return self._moment is None or self.engine.clock.passed(self._moment)

    def synchronize(self) -> None:
        """Let the host wait for this event."""
        engine = self.engine
        engine.refuse_explicit(SyncKind.EVENT)
        moment = self._moment
        stream, until = (DEFAULT_STREAM, 0) if moment is None else (moment.stream, moment.at)
        engine.wait(SyncKind.EVENT, op=table.EXPLICIT_OP, explicit=True, stream=stream, until=until)

    def elapsed_time(self, end_event: VirtualEvent) -> float:
        """Return the ms from this event to `end_event` on the virtual clock.

        The host does not wait for them.

        Raises:
            ValueError: if either is not timed or was not recorded.
            RuntimeError: if either has not passed, as on CUDA.
        """
        if not self._timed or not end_event._timed:
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self._moment is None or end_event._moment is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        if not (self.query() and end_event.query()):
            raise RuntimeError("CUDA error: device not ready")
        return elapsed_ms(self._moment, end_event._moment)

    def __repr__(self) -> str:
        return "<torch.cuda.Event virtual>" if self._moment else "<torch.cuda.Event uninitialized>"


def current(engine: Engine) -> VirtualStream:
    """Return the current stream of the calling thread."""
    return VirtualStream(stream_id=engine.clock.stream())


class stream_context:  # noqa: N801  # stands for `torch.cuda.StreamContext`
    """Makes a stream the current one: `with torch.cuda.stream(s):`."""

    def __init__(self, stream: VirtualStream | None) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        if self.stream is not None:
            self.stream.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.stream is not None:
            self.stream.__exit__(kind, error, trace)
