"""Answers: which thread of one pass is which of the other? By system id, else by the order in which they came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from syncwatch.sense.runtime_trace import RuntimeTrace


class ThreadMap:
    """Numbers the threads of a trace as the hooks numbered them.

    A thread that lives through both passes keeps its system id. Others were started anew: they are matched in the order
    of their first calls if there are as many on both sides, and get numbers of their own if not.
    """

    def __init__(self, names: Sequence[str], native: Mapping[int, int], trace: RuntimeTrace) -> None:
        self._names = list(names)
        self._native = native
        self._trace_names = trace.thread_names
        met = _in_order(trace)
        self._numbers = {tid: native[tid] for tid in met if tid in native}
        fresh = [tid for tid in met if tid not in native]
        gone = [number for tid, number in native.items() if tid not in self._numbers and number < len(names)]
        if len(fresh) == len(gone):
            self._numbers.update(zip(fresh, gone, strict=True))

    def number(self, tid: int) -> int:
        """Return the number of the thread with the system id `tid`."""
        known = self._numbers.get(tid, self._native.get(tid))
        if known is None:
            known = self._numbers[tid] = len(self._names)
            self._names.append(self._trace_names.get(tid) or f"thread {tid}")
        return known

    def names(self) -> tuple[str, ...]:
        """Return the names of all threads, by number."""
        return tuple(self._names)


def _in_order(trace: RuntimeTrace) -> list[int]:
    calls = [row.call for row in trace.syncs] + [row.call for row in trace.copies]
    return list(dict.fromkeys(call.tid for call in sorted(calls, key=lambda call: call.start_ns)))
