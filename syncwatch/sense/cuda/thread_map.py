"""Numbers the threads of a trace as the hooks numbered them: by system id, else in the order in which they came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from syncwatch.sense.cuda.runtime_trace import RuntimeTrace


class ThreadMap:
    """Numbers the threads of a trace as the hooks numbered them.

    A thread that lives through both passes keeps its system id. Others were started anew: they are matched in the order
    of their first calls if there are as many on both sides, and get numbers of their own if not.
    """

    def __init__(self, names: Sequence[str], native: Mapping[int, int], trace: RuntimeTrace) -> None:
        self._names = list(names)
        self._threads = trace.threads
        ids = {number: each.tid for number, each in enumerate(trace.threads) if each.tid is not None}
        self._numbers = {number: native[tid] for number, tid in ids.items() if tid in native}
        met = _in_order(trace)
        alive = {ids.get(thread) for thread in met}
        fresh = [thread for thread in met if thread not in self._numbers]
        gone = [number for tid, number in native.items() if tid not in alive and number < len(names)]
        if len(fresh) == len(gone):
            self._numbers.update(zip(fresh, gone, strict=True))

    def number(self, thread: int) -> int:
        """Return the hooks' number of a thread of the trace."""
        known = self._numbers.get(thread)
        if known is None:
            known = self._numbers[thread] = len(self._names)
            self._names.append(self._threads[thread].name)
        return known

    def names(self) -> tuple[str, ...]:
        """Return the names of all threads, by number."""
        return tuple(self._names)


def _in_order(trace: RuntimeTrace) -> list[int]:
    """Return the threads that waited or copied, by their first call."""
    moments = [(wait.call_ns, wait.thread) for wait in trace.waits]
    calls = (copy.event.call for copy in trace.copies)
    moments += [(call.start_ns, call.thread) for call in calls if call is not None]
    return list(dict.fromkeys(thread for _, thread in sorted(moments)))
