"""Lists the host calls of a recording, and the correlation id under which nsys knows each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator

from syncwatch.model.events import Call, CopyEvent, KernelEvent, SyncEvent, SyncKind
from syncwatch.model.session import Recording


class Calls:
    """The launches, copies and waits of one recording, each a row of nsys' table of runtime calls.

    Kernels that share a call, as those of a CUDA graph do, share its row. A wait inside a copy call is no call of its
    own: the row of the copy call lasts until the wait ends.

    Args:
        recording: what was recorded.
        first: the first correlation id; rules of nsys join on it alone, so it is unique in the file.
    """

    def __init__(self, recording: Recording, first: int) -> None:
        works: tuple[KernelEvent | CopyEvent, ...] = (*(recording.kernels or ()), *(recording.copies or ()))
        distinct = dict.fromkeys(work.call for work in works if work.call is not None)
        self._ids = {call: number for number, call in enumerate(distinct, first)}
        self._held: dict[Call, int] = {}
        self._threads = _by_thread(self._ids)
        self._own_waits: list[tuple[Call, int]] = []
        self.next_id = first + len(self._ids)
        self.waits = tuple(self._wait(sync) for sync in recording.syncs)
        """The correlation id of the call that waited, for each sync; None where it has no time."""

    def id_of(self, call: Call | None) -> int | None:
        """Return the correlation id of `call`, the host call behind a kernel or copy."""
        return None if call is None else self._ids[call]

    def rows(self) -> Iterator[tuple[Call, int, int]]:
        """Yield each call with its correlation id and its end in ns, later than its own where a wait went on in it."""
        for call, number in self._ids.items():
            yield call, number, self._held.get(call, call.end_ns)
        for call, number in self._own_waits:
            yield call, number, call.end_ns

    def own_lengths_ns(self) -> dict[int, int]:
        """Return how long the calls lasted that a wait made longer, by correlation id."""
        return {self._ids[call]: call.end_ns - call.start_ns for call in self._held}

    def _wait(self, sync: SyncEvent) -> int | None:
        if sync.start_ns is None or sync.end_ns is None:
            return None
        name = sync.kind.api() if sync.api is None else sync.api
        calls, starts = self._threads.get(sync.thread, ([], []))
        if sync.kind is SyncKind.COPY:
            index = bisect_right(starts, sync.start_ns) - 1
            if index >= 0 and calls[index].name == name and sync.start_ns <= calls[index].end_ns:
                return self._hold(calls[index], sync.end_ns)
            begun = sync.start_ns
        else:
            # A blocking copy is two calls, and the wait lasts for both: its own call begins after the copy call.
            index = bisect_left(starts, sync.end_ns) - 1
            inside = index >= 0 and sync.start_ns <= starts[index] and calls[index].end_ns <= sync.end_ns
            begun = calls[index].end_ns if inside else sync.start_ns
        self._own_waits.append((Call(sync.thread, name, begun, sync.end_ns), self.next_id))
        self.next_id += 1
        return self.next_id - 1

    def _hold(self, call: Call, end_ns: int) -> int:
        if end_ns > self._held.get(call, call.end_ns):
            self._held[call] = end_ns
        return self._ids[call]


def _by_thread(calls: dict[Call, int]) -> dict[int, tuple[list[Call], list[int]]]:
    threads: dict[int, list[Call]] = defaultdict(list)
    for call in calls:
        threads[call.thread].append(call)
    ordered = {thread: sorted(found, key=lambda call: call.start_ns) for thread, found in threads.items()}
    return {thread: (found, [call.start_ns for call in found]) for thread, found in ordered.items()}
