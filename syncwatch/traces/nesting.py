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
        self._numbers: dict[tuple[str, ...], int] = {}
        self.names: list[tuple[str, ...]] = []
        """The nests found so far, by their number."""

    def around(self, thread: int, moment_ns: int) -> int | None:
        """Return the number of the nest that holds `moment_ns`; None outside every range, and where one just ended.

        Moments of a thread are to be asked for in their order.
        """
        coming, opened = self._coming.get(thread), self._open[thread]
        while coming and coming[-1].start_ns <= moment_ns:
            each = coming.pop()
            if each.end_ns > moment_ns:
                opened.append(each)
        live: list[RangeEvent] = []
        # Ranges that do not nest can end in any order; each that has ended is looked at once.
        while opened and len(live) < MAX_NESTED:
            each = opened.pop()
            if each.end_ns > moment_ns:
                live.append(each)
        live.reverse()
        opened += live
        return self._number(tuple(each.name for each in live)) if live else None

    def _number(self, names: tuple[str, ...]) -> int:
        number = self._numbers.get(names)
        if number is None:
            number = self._numbers[names] = len(self.names)
            self.names.append(names)
        return number
