"""Answers: what did one process do on the host, by a trace of torch.profiler? Its rows, kept in columns."""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt

from syncwatch.model.events import Call, Frame, RangeEvent
from syncwatch.traces.kineto.paths import frame_of
from syncwatch.traces.kineto.spans import Nesting, Spans
from syncwatch.traces.process import Operator

_MAX_DEPTH = 32
"""Frames kept of each stack, as of a live one."""
_MAX_WALK = 1000
"""Rows looked at for one stack: between two functions of Python lie a few that are none."""
_NONE = -1


@dataclass(slots=True)
class Names:
    """Numbers each name once."""

    texts: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def number(self, text: str) -> int:
        """Return the number of `text`."""
        known = self._numbers.get(text)
        if known is None:
            known = self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return known


@dataclass(slots=True)
class Host:
    """The threads of one process, and what ran on each; times as the file has them, before its base is added."""

    names: Names
    tids: dict[object, int] = field(default_factory=dict)
    """Threads by what the file calls them, numbered as they appear."""
    ranges: list[RangeEvent] = field(default_factory=list)
    operators: dict[int, Spans] = field(default_factory=lambda: defaultdict(Spans))
    functions: dict[int, Spans] = field(default_factory=lambda: defaultdict(Spans))
    calls: Spans = field(default_factory=Spans)
    threads: array[int] = field(default_factory=lambda: array("q"))
    """Of each call."""
    correlations: array[int] = field(default_factory=lambda: array("q"))
    """Of each call; negative where it has none."""

    def thread(self, tid: object) -> int:
        """Return the number of a thread."""
        return self.tids.setdefault(tid, len(self.tids))

    def call(self, index: int, base_ns: int) -> Call:
        """Return one of the calls."""
        name = self.names.texts[self.calls.names[index]]
        start, end = self.calls.starts[index], self.calls.ends[index]
        return Call(self.threads[index], name, start + base_ns, end + base_ns)

    def calls_of(self, correlations: array[int]) -> list[int]:
        """Return for each correlation the index of its call, the earliest if there are several; -1 for none."""
        known = np.frombuffer(self.correlations, np.int64) if self.correlations else np.empty(0, np.int64)
        wanted = np.frombuffer(correlations, np.int64) if correlations else np.empty(0, np.int64)
        if not len(known) or not len(wanted):
            return [_NONE] * len(correlations)
        order = np.argsort(known, kind="stable")
        places = np.minimum(np.searchsorted(known[order], wanted), len(order) - 1)
        found: npt.NDArray[np.int64] = order[places]
        indices: list[int] = np.where((known[found] == wanted) & (wanted >= 0), found, _NONE).tolist()
        return indices


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
        for index in islice(self._functions[thread].around(moment_ns - self._base_ns), _MAX_WALK):
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
        for index in self._operators[thread].around(moment_ns - self._base_ns):
            name = self._host.names.texts[spans.names[index]].replace("::", ".")
            return Operator(name, spans.starts[index] + self._base_ns)
        return None
