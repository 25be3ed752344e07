"""Reads the NVTX ranges of an nsys file, named as nsys' reports name them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from syncwatch.model.events import RangeEvent
from syncwatch.traces.nsys.read_calls import PROCESS_BITS, Threads
from syncwatch.traces.nsys.read_file import GRAPH, KERNEL, LONGEST_NAME, MEMCPY, MEMSET, NVTX, RUNTIME, NsysFile

_PUSH_POP, _START_END, _DOMAIN = 59, 60, 75
"""Of ENUM_NSYS_EVENT_TYPE, the same from 2022 to 2026."""
_COLUMNS = ("text", "textId", "domainId")


def ranges_of(file: NsysFile, threads: Mapping[int, Threads]) -> dict[int, list[RangeEvent]]:
    """Return the ranges of each process by their start, named as nsys' reports show them: `domain:name`.

    A range that had not ended lasts to the end of the trace. One without a name, which only carried a number, is left
    out.
    """
    found: dict[int, list[RangeEvent]] = defaultdict(list)
    if not file.has(NVTX):
        return found
    are_read = f"eventType IN ({_PUSH_POP}, {_START_END}, {_DOMAIN})"
    file.require_sound(NVTX, ("start", "eventType"), ("end", "globalTid", "textId", "domainId"), are_read)
    texts = file.texts(NVTX, "textId")
    domains = _domains(file, texts)
    last: int | None = None
    for owner, start, end, text, number, domain in _events(file, f"{_PUSH_POP}, {_START_END}"):
        name = texts.get(number or 0, "") if text is None else text
        if not name:
            continue
        if end is None:
            last = _end_of(file) if last is None else last
            end = max(start, last)
        process = owner >> PROCESS_BITS
        prefix = domains.get((process, domain))
        found[process].append(
            RangeEvent(threads[process].number(owner), f"{prefix}:{name}" if prefix else name, start, end)
        )
    return found


def _events(file: NsysFile, types: str) -> list[tuple[int, int, int | None, str | None, int | None, int | None]]:
    thread, end = file.columns(NVTX, ("globalTid",)), file.columns(NVTX, ("end",))
    text, number, domain = (file.columns(NVTX, (name,)) for name in _COLUMNS)
    query = (
        f"SELECT coalesce({thread}, 0), start, {end}, substr(CAST({text} AS TEXT), 1, {LONGEST_NAME}), "
        f"{number}, {domain} FROM {NVTX} WHERE eventType IN ({types}) ORDER BY start"
    )
    return file.rows(query).fetchall()


def _domains(file: NsysFile, texts: Mapping[int, str]) -> dict[tuple[int, int | None], str]:
    found: dict[tuple[int, int | None], str] = {}
    for owner, _, _, text, number, domain in _events(file, str(_DOMAIN)):
        if domain:
            found[owner >> PROCESS_BITS, domain] = text or texts.get(number or 0, "")
    return found


def _end_of(file: NsysFile) -> int:
    tables = [table for table in (RUNTIME, KERNEL, MEMCPY, MEMSET, GRAPH, NVTX) if file.has(table, "end")]
    return max(file.count(f'SELECT max("end") FROM {table} WHERE typeof("end") = \'integer\'') for table in tables)
