"""Packs the timeline into the page: columns of integers and one table of strings, as JSON.

Times are nanoseconds from the start of the first measured step, so that variants are aligned; starts are written as
the difference to the one before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from syncwatch.model.analysis import AnalysedWait, Finding, StepsWithout
from syncwatch.model.events import SyncKind
from syncwatch.model.session import Recording
from syncwatch.report import text
from syncwatch.report.html.lanes import BlockStyle, Lane, LaneBlock, lanes_without
from syncwatch.report.html.thinning import DrawnRecording
from syncwatch.report.site import caret_span

_LOOKS = tuple(BlockStyle)
_MAX_NAME = 300


class StringIndex:
    """Numbers names as they come; each is stored once, cropped, with control characters spelled out."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def add(self, name: str) -> int:
        """Return the number of `name`."""
        return self._numbers.setdefault(name, len(self._numbers))

    def table(self) -> list[str]:
        """Return the names by number."""
        return [printable(name) for name in self._numbers]


def printable(name: str) -> str:
    """Return a foreign name as the page shows it: control characters spelled out, cropped."""
    return text.crop_right(text.shown(name[: 4 * _MAX_NAME]), _MAX_NAME)


def origin_of(recording: Recording, drawn: DrawnRecording) -> int:
    """Return the moment that the timeline of `recording` counts from: its first measured step, else its first event."""
    measured = [step.start_ns for step in recording.steps if not step.warmup]
    if measured:
        return min(measured)
    starts = [block.start_ns for lane in drawn.lanes for block in lane.blocks[:1]]
    starts += [wait.sync.start_ns for wait in drawn.waits if wait.sync.start_ns is not None]
    return min(starts, default=0)


class Packer:
    """Packs several recordings over one table of strings and one of findings."""

    def __init__(self) -> None:
        self._strings = StringIndex()
        self._findings: dict[Finding, int] = {}

    def page(self, packed: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return everything that the script reads, given what `recording` made of each variant."""
        return {
            "variants": list(packed),
            "findings": [_finding(finding) for finding in self._findings],
            "strings": self._strings.table(),
        }

    def recording(
        self, recording: Recording, drawn: DrawnRecording, without: Sequence[tuple[str, StepsWithout]] = ()
    ) -> dict[str, Any]:
        """Return what is drawn of `recording`; `without` has its first steps without a line, and the line's name."""
        origin = origin_of(recording, drawn)
        return {
            "name": printable(recording.variant),
            "modelled": recording.modelled,
            "gpu_measured": recording.kernels is not None,
            "steps": [[s.index, int(s.warmup), s.start_ns - origin, s.end_ns - origin] for s in recording.steps],
            "lanes": [self._lane(lane, origin) for lane in drawn.lanes],
            "waits": [self._wait(wait, recording, origin) for wait in drawn.waits],
            "without": [self._without(place, steps, recording, origin) for place, steps in without],
        }

    def _without(self, place: str, steps: StepsWithout, recording: Recording, origin: int) -> dict[str, Any]:
        return {
            "place": place,
            "steps": [[start - origin, end - origin] for start, end in steps.steps],
            "end": steps.end_ns - origin,
            "recorded_end": steps.recorded_end_ns - origin,
            "lanes": [self._lane(lane, origin) for lane in lanes_without(steps, recording)],
        }

    def _lane(self, lane: Lane, origin: int) -> dict[str, Any]:
        blocks = lane.blocks
        return {
            "kind": lane.kind.value,
            "label": printable(lane.label),
            "owner": lane.owner,
            "depth": lane.depth,
            "start": list(_differences(block.start_ns - origin for block in blocks)),
            "length": [block.end_ns - block.start_ns for block in blocks],
            "name": [self._strings.add(block.name) for block in blocks],
            "look": [_LOOKS.index(block.look) for block in blocks],
            "row": [block.row for block in blocks] if lane.depth > 1 else None,
            "merged": {str(index): [block.events, block.busy_ns] for index, block in _merged(blocks)},
        }

    def _wait(self, wait: AnalysedWait, recording: Recording, origin: int) -> dict[str, Any]:
        sync, price = wait.sync, wait.price
        assert sync.start_ns is not None and sync.end_ns is not None
        idle = wait.bubble
        ranges = recording.range_stacks[sync.within] if sync.within is not None else ()
        return {
            "start": sync.start_ns - origin,
            "length": sync.end_ns - sync.start_ns,
            "thread": sync.thread,
            "gpu": sync.device,
            "stream": sync.stream,
            "step": sync.step,
            "finding": None if wait.finding is None else self._findings.setdefault(wait.finding, len(self._findings)),
            "pacing": sync.pacing,
            "allocation": sync.kind is SyncKind.ALLOCATION,
            "allowed": None if sync.allowed is None else self._strings.add(sync.allowed),
            "api": self._strings.add(sync.api or sync.kind.api()),
            "op": None if sync.op is None else self._strings.add(sync.op),
            "ranges": [self._strings.add(name) for name in ranges],
            "drain": None if price is None else price.drain_ns,
            "overhead": None if price is None else price.overhead_ns,
            "idle": None if idle is None else [idle[0] - origin, idle[1] - idle[0]],
            "stream_idle": None if price is None else price.stream_bubble_ns,
        }


def to_json(value: Any) -> str:
    """Return `value` as JSON that no HTML parser can leave: neither a tag nor an entity can begin in it."""
    packed = json.dumps(value, separators=(",", ":"))
    return packed.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _differences(values: Iterable[int]) -> Iterable[int]:
    before = 0
    for value in values:
        yield value - before
        before = value


def _merged(blocks: Sequence[LaneBlock]) -> Iterable[tuple[int, LaneBlock]]:
    return ((index, block) for index, block in enumerate(blocks) if block.look is BlockStyle.MERGED)


def _finding(finding: Finding) -> dict[str, Any]:
    first, last = caret_span(finding.source, finding.expression)
    return {
        "code": finding.code,
        "title": finding.title,
        "hint": finding.hint,
        "explicit": finding.explicit,
        "file": printable(finding.file),
        "line": finding.line,
        "function": printable(finding.function),
        "range": None if finding.range is None else printable(finding.range),
        "exact": finding.exact_line,
        "before": printable(finding.source[:first]),
        "marked": printable(finding.source[first:last]),
        "after": printable(finding.source[last:]),
    }
