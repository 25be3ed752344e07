"""What is drawn of one recording, and in which row: NVTX ranges, host threads and GPU streams, as lanes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import NamedTuple

from syncwatch.model.analysis import StepsWithout
from syncwatch.model.events import PACING_RANGE, STEP_RANGE, Direction
from syncwatch.model.session import Recording

MAX_DEPTH = 6
"""Rows of nested ranges; what lies deeper is left out, and said."""


class BlockStyle(str, Enum):
    """How an event is drawn; the page's script knows them by their position."""

    KERNEL = "kernel"
    H2D = "h2d"
    D2H = "d2h"
    D2D = "d2d"
    MEMSET = "memset"
    CALL = "call"
    RANGE = "range"
    MERGED = "merged"
    WAIT = "sync"
    """Of steps that were replayed; recorded waits are drawn from more than a block."""


class LaneKind(str, Enum):
    """What a lane stands for."""

    RANGES = "ranges"
    HOST = "host"
    STREAM = "stream"


class LaneBlock(NamedTuple):
    """One drawn thing."""

    start_ns: int
    end_ns: int
    name: str
    look: BlockStyle
    row: int = 0
    """The depth of a nested range."""
    events: int = 1
    """How many events were merged into it."""
    busy_ns: int | None = None
    """Of merged events, the time that they took together."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One row of the timeline, its blocks by start."""

    kind: LaneKind
    label: str
    owner: int
    """The thread of a host lane, the GPU of a stream."""
    blocks: Sequence[LaneBlock]
    depth: int = 1
    too_deep: int = 0
    """Ranges left out because they are nested deeper than `MAX_DEPTH`."""


def lanes_of(recording: Recording) -> tuple[Lane, ...]:
    """Return the lanes of `recording`: for each thread its ranges and its calls, then the streams of each GPU."""
    return (*_host_lanes(recording), *_stream_lanes(recording))


def lanes_without(steps: StepsWithout, recording: Recording) -> tuple[Lane, ...]:
    """Return the lanes of steps as they would be, in the order of those of `recording`."""
    hosts: dict[int, list[LaneBlock]] = defaultdict(list)
    for call in steps.calls:
        look = BlockStyle.WAIT if call.waits else BlockStyle.CALL
        hosts[call.thread].append(LaneBlock(call.start_ns, call.end_ns, call.name, look))
    streams: dict[tuple[int, int | None], list[LaneBlock]] = defaultdict(list)
    for work in steps.works:
        look = BlockStyle.KERNEL if work.direction is None else BlockStyle(work.direction)
        streams[work.device, work.stream].append(LaneBlock(work.start_ns, work.end_ns, work.name, look))
    named = {thread: f"host · {recording.threads[thread]}" for thread in sorted(hosts)}
    return (
        *(Lane(LaneKind.HOST, name, thread, sorted(hosts[thread])) for thread, name in named.items()),
        *_in_order(streams),
    )


def _host_lanes(recording: Recording) -> Iterable[Lane]:
    ranges, calls = _ranges(recording), _calls(recording)
    waiting = {sync.thread for sync in recording.syncs}
    for thread, name in enumerate(recording.threads):
        if thread in ranges:
            kept = [block for block in ranges[thread] if block.row < MAX_DEPTH]
            yield Lane(
                LaneKind.RANGES,
                f"NVTX · {name}",
                thread,
                kept,
                depth=1 + max((block.row for block in kept), default=0),
                too_deep=len(ranges[thread]) - len(kept),
            )
        if thread in calls or thread in waiting:
            yield Lane(LaneKind.HOST, f"host · {name}", thread, calls.get(thread, ()))


def _ranges(recording: Recording) -> dict[int, list[LaneBlock]]:
    """Return the ranges of each thread with the depth they are nested to, but for those of the runner itself."""
    own = {PACING_RANGE, recording.variant}
    by_thread: dict[int, list[LaneBlock]] = defaultdict(list)
    open_until: dict[int, list[int]] = defaultdict(list)
    for each in sorted(recording.ranges, key=lambda event: (event.start_ns, -event.end_ns)):
        if each.name in own or each.name.startswith(f"{STEP_RANGE} "):
            continue
        around = open_until[each.thread]
        while around and around[-1] <= each.start_ns:
            around.pop()
        by_thread[each.thread].append(LaneBlock(each.start_ns, each.end_ns, each.name, BlockStyle.RANGE, len(around)))
        around.append(each.end_ns)
    return by_thread


def _calls(recording: Recording) -> dict[int, list[LaneBlock]]:
    found: dict[int, list[LaneBlock]] = defaultdict(list)
    kernels, copies = recording.kernels or (), recording.copies or ()
    for call in chain((kernel.call for kernel in kernels), (copy.call for copy in copies)):
        if call is not None:
            found[call.thread].append(LaneBlock(call.start_ns, call.end_ns, call.name, BlockStyle.CALL))
    # One call may launch several kernels, as a CUDA graph does.
    return {thread: sorted(set(blocks)) for thread, blocks in found.items()}


def _stream_lanes(recording: Recording) -> list[Lane]:
    found: dict[tuple[int, int | None], list[LaneBlock]] = defaultdict(list)
    for kernel in recording.kernels or ():
        look = BlockStyle.KERNEL if kernel.memset_bytes is None else BlockStyle.MEMSET
        found[kernel.device, kernel.stream].append(LaneBlock(kernel.start_ns, kernel.end_ns, kernel.name, look))
    for copy in recording.copies or ():
        if copy.start_ns is not None and copy.end_ns is not None:
            block = LaneBlock(
                copy.start_ns, copy.end_ns, f"{_way(copy.direction)}, {copy.bytes:,} B", BlockStyle(copy.direction)
            )
            found[copy.device, copy.stream].append(block)
    return _in_order(found)


def _in_order(found: dict[tuple[int, int | None], list[LaneBlock]]) -> list[Lane]:
    gpus = {gpu for gpu, _ in found}
    return [
        Lane(LaneKind.STREAM, f"{_gpu(gpu, gpus)} · {_named(stream)}", gpu, sorted(found[gpu, stream]))
        for gpu, stream in sorted(found, key=lambda owner: (owner[0], owner[1] is None, owner[1] or 0))
    ]


def _named(stream: int | None) -> str:
    return "unknown stream" if stream is None else f"stream {stream}"


def _gpu(gpu: int, known: set[int]) -> str:
    return "GPU" if len(known) == 1 else f"GPU {gpu}"


def _way(direction: Direction) -> str:
    return f"copy {direction.value.upper()}"
