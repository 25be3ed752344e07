"""Finds the copy that a wait stands behind where no stack joins them: the last work that its thread asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable

from syncwatch.model.events import CopyEvent, SyncEvent, SyncKind
from syncwatch.model.session import Recording


class CopiesBefore:
    """The copies of a recording by the thread and the moment of the call that asked for each."""

    def __init__(self, recording: Recording) -> None:
        copies: dict[int, list[tuple[int, CopyEvent]]] = defaultdict(list)
        for copy in recording.copies or ():
            if copy.call is not None:
                copies[copy.call.thread].append((copy.call.start_ns, copy))
        self._copies = {thread: sorted(known, key=lambda pair: pair[0]) for thread, known in copies.items()}
        self._starts = {thread: [start for start, _ in known] for thread, known in self._copies.items()}
        calls = (kernel.call for kernel in recording.kernels or () if kernel.call is not None)
        self._launches = _by_thread((call.thread, call.start_ns) for call in calls)
        ends = ((sync.thread, sync.end_ns) for sync in recording.syncs if sync.end_ns is not None)
        self._waited = _by_thread(ends)

    def of(self, sync: SyncEvent) -> CopyEvent | None:
        """Return the copy that `sync` stands behind.

        torch waits for a copy with the very next call, on the stream that copied; a launch or a wait in between says
        that the wait is for something else. None where it is, or where the calls or times were not recorded.
        """
        if sync.start_ns is None or sync.kind not in (SyncKind.STREAM, SyncKind.COPY):
            return None
        before = bisect_right(self._starts.get(sync.thread, []), sync.start_ns) - 1
        if before < 0:
            return None
        asked_ns, copy = self._copies[sync.thread][before]
        if sync.stream is not None and (sync.device, sync.stream) != (copy.device, copy.stream):
            return None
        for moments in (self._launches, self._waited):
            known = moments.get(sync.thread, [])
            if bisect_right(known, sync.start_ns) > bisect_right(known, asked_ns):
                return None
        return copy


def _by_thread(moments: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    grouped: dict[int, list[int]] = defaultdict(list)
    for thread, moment in moments:
        grouped[thread].append(moment)
    return {thread: sorted(known) for thread, known in grouped.items()}
