"""Numbers the tracks that Perfetto shows of one variant; a number is given once in a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from syncwatch.model.session import Recording

Row = dict[str, Any]


@dataclass(slots=True)
class Tracks:
    """The tracks of one variant, in the order in which they are asked for: Perfetto sorts them by their numbers.

    It takes a number that two processes share for one thread, so that `numbers` is that of the whole file.
    """

    recording: Recording
    place: int
    """Index of the recording in its session."""
    labels: str
    """What stands beside the name of the process."""
    numbers: count[int]
    pid: int = field(init=False)
    _tids: dict[tuple[str, object], int] = field(default_factory=dict)
    _rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pid = next(self.numbers)
        self._describe("process_name", self.pid, {"name": self.recording.variant, "recording": self.place})
        self._describe("process_labels", self.pid, {"labels": self.labels})
        self._describe("process_sort_index", self.pid, {"sort_index": self.place})

    def described(self) -> Iterator[Row]:
        """Yield and forget the metadata rows of the tracks that are new."""
        yield from self._rows
        self._rows.clear()

    def steps(self) -> int:
        """Return the track of the steps."""
        return self._track("steps", None, {"name": "steps"})

    def host(self, thread: int) -> int:
        """Return the track of a host thread; a number that no thread has gets a track too."""
        known = 0 <= thread < len(self.recording.threads)
        name = self.recording.threads[thread] if known else f"thread {thread}"
        return self._track("host", thread, {"name": name, "thread": thread, "recorded": known})

    def syncs(self, thread: int) -> int:
        """Return the track of the waits of a host thread."""
        known = 0 <= thread < len(self.recording.threads)
        name = self.recording.threads[thread] if known else f"thread {thread}"
        return self._track("syncs", thread, {"name": f"syncs of {name}"})

    def stream(self, device: int, stream: int | None) -> int:
        """Return the track of a stream of a GPU."""
        name = f"GPU {device} stream {'unknown' if stream is None else stream}"
        return self._track("stream", (device, stream), {"name": name})

    def bubbles(self, device: int) -> int:
        """Return the track of the idle times of a GPU that waits caused."""
        return self._track("bubbles", device, {"name": f"GPU {device} bubbles"})

    def _track(self, kind: str, which: object, described: Row) -> int:
        tid = self._tids.get((kind, which))
        if tid is None:
            tid = self._tids[kind, which] = next(self.numbers)
            self._describe("thread_name", tid, described)
            self._describe("thread_sort_index", tid, {"sort_index": tid})
        return tid

    def _describe(self, name: str, tid: int, described: Row) -> None:
        self._rows.append({"ph": "M", "name": name, "pid": self.pid, "tid": tid, "ts": 0, "args": described})
