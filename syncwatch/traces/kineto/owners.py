"""Finds the process of a trace, and the call of it, that asked for each piece of work on the device."""

from __future__ import annotations

from collections.abc import Iterator

from syncwatch.traces.kineto.columns import Collected, Host, Works

_NONE = -1


class Owners:
    """Tells which call of which process asked for each piece of work; correlations are counted in each process."""

    def __init__(self, found: Collected, hosts: list[Host]) -> None:
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

    def _indices(self, category: str, works: Works, place: int) -> Iterator[int]:
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
