"""Tells what Python and torch were doing on a thread at a moment, by the rows of torch.profiler around it."""

from __future__ import annotations

from syncwatch.model.events import Frame
from syncwatch.traces.kineto.columns import Host
from syncwatch.traces.kineto.paths import frame_of
from syncwatch.traces.nesting import Nesting
from syncwatch.traces.process import Operator

_MAX_DEPTH = 32
"""Frames kept of each stack, as of a live one."""


class Surroundings:
    """What Python and torch were doing on a thread, by the rows around a moment; see `process.Surroundings`."""

    def __init__(self, host: Host, base_ns: int) -> None:
        self._host = host
        self._base_ns = base_ns
        self._operators: dict[int, Nesting] = {}
        self._functions: dict[int, Nesting] = {}

    def frames_at(self, thread: int, moment_ns: int) -> tuple[Frame, ...]:
        """Return the Python stack, innermost first; functions that are not Python are passed over."""
        spans = self._host.functions.get(thread)
        if spans is None:
            return ()
        if thread not in self._functions:
            self._functions[thread] = Nesting(spans)
        texts, frames = self._host.names.texts, []
        for index in self._functions[thread].around(moment_ns - self._base_ns):
            frame = frame_of(texts[spans.names[index]])
            if frame is not None:
                frames.append(frame)
                if len(frames) == _MAX_DEPTH:
                    break
        return tuple(frames)

    def operator_at(self, thread: int, moment_ns: int) -> Operator | None:
        """Return the innermost operator of torch."""
        spans = self._host.operators.get(thread)
        if spans is None:
            return None
        if thread not in self._operators:
            self._operators[thread] = Nesting(spans)
        for index in self._operators[thread].around(moment_ns - self._base_ns, most=1):
            name = self._host.names.texts[spans.names[index]].replace("::", ".")
            return Operator(name, spans.starts[index] + self._base_ns)
        return None
