"""Answers: which innermost interval of a thread holds a moment?"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from syncwatch.sense.runtime_trace import Span


class Intervals:
    """Properly nested intervals of each thread."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans: dict[int, list[Span]] = {}
        self._parents: dict[int, list[int]] = {}
        for span in sorted(spans, key=lambda span: (span.start_ns, -span.end_ns)):
            self._append(span)
        self._starts = {tid: [span.start_ns for span in found] for tid, found in self._spans.items()}

    def _append(self, span: Span) -> None:
        spans, parents = self._spans.setdefault(span.tid, []), self._parents.setdefault(span.tid, [])
        parent = len(spans) - 1
        while parent >= 0 and spans[parent].end_ns < span.end_ns:
            parent = parents[parent]
        spans.append(span)
        parents.append(parent)

    def around(self, tid: int, moment: int) -> Span | None:
        """Return the innermost interval of `tid` that holds `moment`."""
        spans = self._spans.get(tid, [])
        at = bisect_right(self._starts.get(tid, []), moment) - 1
        while at >= 0 and spans[at].end_ns < moment:
            at = self._parents[tid][at]
        return spans[at] if at >= 0 else None
