"""Keeps what counts of the rows of a torch.profiler trace in columns of numbers: there are millions."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from syncwatch.model.events import Call, RangeEvent
from syncwatch.model.runtime import is_gpu_call
from syncwatch.traces.kineto.notation import nanoseconds
from syncwatch.traces.kineto.read_file import Row
from syncwatch.traces.nesting import Spans

_FARTHEST = 2**61
"""For any number of a row: a quarter of what 64 bits hold, since the base of the clock comes on top of a time."""
_BEGINS = frozenset({"B", "b"})
_CALLS = frozenset({"cuda_runtime", "cuda_driver"})
_NONE = -1
_MANY = 2**31
"""More streams and GPUs than there are; CUPTI's mark for no stream is 2**32 - 1."""


@dataclass(slots=True)
class NameTable:
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

    names: NameTable
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


class _Arguments(msgspec.Struct, gc=False):
    """What counts of the arguments of a runtime call or of work on the device."""

    correlation: Annotated[int, msgspec.Meta(ge=-_FARTHEST, le=_FARTHEST)] = _NONE
    device: Annotated[int, msgspec.Meta(ge=_NONE, lt=_MANY)] = 0
    stream: int | None = None
    bytes: Annotated[int, msgspec.Meta(ge=0, le=_FARTHEST)] = 0


_arguments = msgspec.json.Decoder(_Arguments)


@dataclass(slots=True)
class WorkColumns:
    """Work of one category on the devices, a column for each thing known of it."""

    names: array[int] = field(default_factory=lambda: array("q"))
    starts: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))
    correlations: array[int] = field(default_factory=lambda: array("q"))
    devices: array[int] = field(default_factory=lambda: array("q"))
    streams: array[int] = field(default_factory=lambda: array("q"))
    """Negative where the trace names none."""
    bytes: array[int] = field(default_factory=lambda: array("q"))

    def add(self, name: int, span: tuple[int, int], about: _Arguments) -> None:
        """Note one piece."""
        self.names.append(name)
        self.starts.append(span[0])
        self.ends.append(span[1])
        self.correlations.append(about.correlation)
        self.devices.append(max(0, about.device))
        self.streams.append(about.stream if about.stream is not None and 0 <= about.stream < _MANY else _NONE)
        self.bytes.append(about.bytes)


@dataclass(slots=True)
class CollectedRows:
    """Every row that counts; times as the file has them, before its base is added."""

    names: NameTable = field(default_factory=NameTable)
    hosts: dict[object, Host] = field(default_factory=dict)
    """Processes by what the file calls them."""
    thread_names: dict[tuple[object, object], str] = field(default_factory=dict)
    """By process and thread."""
    works: dict[str, WorkColumns] = field(
        default_factory=lambda: {name: WorkColumns() for name in ("kernel", "gpu_memset", "gpu_memcpy", "cuda_sync")}
    )
    """By category."""
    left_out: int = 0
    """Rows that have no time that can be, or arguments of another type."""
    halves: int = 0
    """Rows that begin something whose end is another row; torch.profiler writes one row for both."""
    strange: int = 0
    """Calls of a GPU's runtime in a category of another program's, or of a runtime other than CUDA."""

    def take(self, rows: Iterable[Row]) -> None:
        """Note every row."""
        for row in rows:
            if row.ph == "X":
                try:
                    self._slice(row)
                except (msgspec.ValidationError, ValueError, RecursionError):
                    self.left_out += 1
            elif row.ph == "M" and row.name == "thread_name":
                self._name_thread(row)
            elif row.ph in _BEGINS:
                self.halves += row.cat in _CALLS or row.cat in self.works or is_gpu_call(row.name)

    def _slice(self, row: Row) -> None:
        category = row.cat
        if category == "python_function":
            host = self._host(row.pid)
            host.functions[host.thread(row.tid)].add(self.names.number(row.name), *_span(row))
        elif category == "cpu_op":
            host = self._host(row.pid)
            host.operators[host.thread(row.tid)].add(self.names.number(row.name), *_span(row))
        elif category in _CALLS:
            self.strange += row.name.startswith("hip") and is_gpu_call(row.name)
            self._call(row)
        elif category in self.works:
            about = _arguments.decode(row.args)
            self.works[category].add(self.names.number(row.name), _span(row), about)
        elif category == "user_annotation":
            start, end = _span(row)
            host = self._host(row.pid)
            host.ranges.append(RangeEvent(host.thread(row.tid), row.name, start, end))
        elif is_gpu_call(row.name):
            self.strange += 1

    def _call(self, row: Row) -> None:
        start, end = _span(row)
        about = _arguments.decode(row.args)
        host = self._host(row.pid)
        host.threads.append(host.thread(row.tid))
        host.correlations.append(about.correlation)
        host.calls.add(self.names.number(row.name), start, end)

    def _host(self, pid: object) -> Host:
        host = self.hosts.get(pid)
        if host is None:
            host = self.hosts[pid] = Host(self.names)
        return host

    def _name_thread(self, row: Row) -> None:
        try:
            self.thread_names[row.pid, row.tid] = str(msgspec.json.decode(row.args, type=dict[str, str])["name"])
        except (msgspec.ValidationError, UnicodeDecodeError, LookupError):
            self.left_out += 1


def _span(row: Row) -> tuple[int, int]:
    start, length = nanoseconds(row.ts), 0 if row.dur is None else nanoseconds(row.dur)
    if start is None or length is None or length < 0 or abs(start) > _FARTHEST or length > _FARTHEST:
        raise ValueError
    return start, start + length


class Owners:
    """Tells which call of which process asked for each piece of work; correlations are counted in each process."""

    def __init__(self, found: CollectedRows, hosts: list[Host]) -> None:
        self._hosts = hosts
        self._works = found.works
        self._calls = {
            category: [host.calls_of(works.correlations) for host in hosts] for category, works in found.works.items()
        }

    def of(self, place: int) -> dict[str, list[tuple[int, int]]]:
        """Return for each category the indices of its work that belong to a process, each with that of the call."""
        return {
            category: [(index, self._calls[category][place][index]) for index in self._indices(category, works, place)]
            for category, works in self._works.items()
        }

    def _indices(self, category: str, works: WorkColumns, place: int) -> Iterator[int]:
        calls = self._calls[category]
        for index in range(len(works.starts)):
            if (place if len(self._hosts) == 1 else self._owner(calls, index, works.starts[index])) == place:
                yield index

    def _owner(self, calls: list[list[int]], index: int, start_ns: int) -> int:
        """Return the process whose call was the last before the work began; the first one if none asked for it."""
        known = [place for place, found in enumerate(calls) if found[index] != _NONE]
        moments = {place: self._hosts[place].calls.starts[calls[place][index]] for place in known}
        before = [place for place in known if moments[place] <= start_ns]
        return max(before or known, key=lambda place: moments[place], default=0)
