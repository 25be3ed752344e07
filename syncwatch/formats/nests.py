"""Answers: which ranges lie around a moment of a thread?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from syncwatch.model.events import RangeEvent

MAX_NESTED = 64
"""Innermost ranges kept of each nest; a deeper one is cut at its outer end."""


class Nests:
    """Names each distinct nest of ranges once, outermost first, in the order it was asked for."""

    def __init__(self, ranges: Iterable[RangeEvent]) -> None:
        coming: dict[int, list[RangeEvent]] = defaultdict(list)
        for each in ranges:
            coming[each.thread].append(each)
        for spans in coming.values():
            # The next to begin stands last, the outer one after the inner.
            spans.sort(key=lambda span: (-span.start_ns, span.end_ns))
        self._coming = coming
        self._open: dict[int, list[RangeEvent]] = defaultdict(list)
        self._found: dict[tuple[str, ...], int] = {}

    @property
    def names(self) -> tuple[tuple[str, ...], ...]:
        """Return the nests found so far."""
        return tuple(self._found)

    def around(self, thread: int, moment_ns: int) -> int | None:
        """Return the number of the nest that holds `moment_ns`; None outside every range.

        Moments of a thread are to be asked for in their order.
        """
        coming, opened = self._coming.get(thread), self._open[thread]
        while coming and coming[-1].start_ns <= moment_ns:
            each = coming.pop()
            if each.end_ns >= moment_ns:
                opened.append(each)
        live: list[RangeEvent] = []
        # Ranges that do not nest can end in any order; each that has ended is looked at once.
        while opened and len(live) < MAX_NESTED:
            each = opened.pop()
            if each.end_ns >= moment_ns:
                live.append(each)
        live.reverse()
        opened += live
        return self._found.setdefault(tuple(each.name for each in live), len(self._found)) if live else None
