"""For tests of the HTML report: sessions of a given size, and a parser of the finished page."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from syncwatch.model.events import Call, CopyEvent, Direction, HostMemory, KernelEvent, RangeEvent, Step, SyncEvent
from syncwatch.model.session import DeviceKind, Recording, Session
from tests.helpers.fakes import US, Stacks, frame, gdn_session, kernel, recording, session, sync
from tests.helpers.fakes import steps as marked

KERNEL_NS = 4_000
LAUNCH_NS = 5_000
WAIT_NS = 9_000
"""Nanoseconds from a wait's call to its end, which is that much later than the last kernel, as on a GPU."""


def busy_session(*, steps: int, kernels: int, waits: int, warmup: int = 1) -> Session:
    """Return two variants whose steps have `kernels` launches on two streams; naive waits `waits` times in each."""
    return session(
        _recording("naive", steps, kernels, waits, warmup), _recording("precomputed", steps, kernels, 0, warmup)
    )


def modelled_session() -> Session:
    known = gdn_session()
    recordings = tuple(replace(each, modelled=True) for each in known.recordings)
    return replace(known, device=DeviceKind.VIRTUAL, recordings=recordings)


def hostile_session(names: list[str]) -> Session:
    """Return a session in which each of the nine `names` stands in places of its own."""
    stacks = Stacks()
    line = stacks.add(frame(names[0], names[1], file=names[2], function=names[3]))
    made = recording(
        names[4],
        syncs=[replace(sync(0, stack=line, op=names[5], at=(10 * US, 20 * US)), allowed=names[6])],
        kernels=[kernel((0, 5 * US), step=0, name=names[7])],
        steps=marked(1),
        stacks=stacks,
        notes=(names[8],),
    )
    made = replace(made, threads=(names[5],), ranges=(RangeEvent(0, names[6], 0, 9),), range_stacks=((names[7],),))
    return replace(session(made, target=names[8]), parameters={names[0]: names[1]})


def _recording(variant: str, steps: int, kernels: int, waits: int, warmup: int) -> Recording:
    stacks = Stacks()
    line = stacks.add(
        frame("lengths = cu_seqlens.diff().tolist()", "cu_seqlens.diff().tolist()", file="app/index.py", line=156)
    )
    found: list[KernelEvent] = []
    copies: list[CopyEvent] = []
    syncs: list[SyncEvent] = []
    ranges: list[RangeEvent] = []
    marks: list[Step] = []
    now = 1_000
    every = kernels // waits if waits else kernels + 1
    for index in range(steps):
        begin = now
        for number in range(kernels):
            call = Call(0, "cudaLaunchKernel", now, now + LAUNCH_NS)
            end = now + LAUNCH_NS + KERNEL_NS
            found.append(KernelEvent(index, 7 + number % 2, f"kernel_{number % 40}", now + LAUNCH_NS, end, call))
            now += LAUNCH_NS
            if (number + 1) % every == 0 and len(syncs) < waits * (index + 1):
                syncs.append(sync(index, at=(now, now + WAIT_NS), stack=line, op="aten._to_copy"))
                done = now + WAIT_NS
                copies.append(
                    CopyEvent(index, 0, Direction.D2H, HostMemory.PAGEABLE, 12, True, None, line, 7, now, done - 2_000)
                )
                now = done
        ranges.append(RangeEvent(0, f"layer {index}", begin, now))
        marks.append(Step(index, index < warmup, begin, now))
    made = recording(
        variant,
        syncs=syncs,
        copies=copies,
        kernels=found,
        steps=marks,
        stacks=stacks,
        rounds_ns=[[mark.end_ns - mark.start_ns for mark in marks if not mark.warmup]],
    )
    return replace(made, ranges=tuple(ranges))


class Page(HTMLParser):
    """The tags, the text and the data of a page of HTML, as a browser would find them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._inside: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside.append(tag)
        self._apart(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass
        self._apart(tag)

    def _apart(self, tag: str) -> None:
        """Put a blank between the texts of two blocks or cells, but not between parts of one line."""
        if tag not in ("code", "mark", "b"):
            self.text.append(" ")

    def handle_data(self, data: str) -> None:
        inside = self._inside[-1] if self._inside else ""
        self.raw.get(inside, self.text).append(data)

    @property
    def words(self) -> str:
        """Return the text of the page, with a single blank wherever it has several."""
        return " ".join("".join(self.text).split())

    @property
    def data(self) -> Any:
        """Return the JSON that the page's script draws; None where nothing is drawn."""
        found = [content for content in self.raw["script"] if content.startswith("{")]
        return json.loads(found[0]) if found else None
