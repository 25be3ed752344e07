"""Draws any session that the records allow, for tests that write one to a file and read it back."""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st

from syncwatch.model.events import (
    Call,
    CopyEvent,
    Direction,
    Frame,
    HostMemory,
    KernelEvent,
    RangeEvent,
    Step,
    SyncEvent,
    SyncKind,
)
from syncwatch.model.session import Coverage, DeviceKind, Environment, RecordedBy, Recording, Session

T = TypeVar("T")
Texts = st.SearchStrategy[str]
Spans = st.SearchStrategy[tuple[int, int]]

LONGEST_HOLD_NS = 50
"""The most nanoseconds by which a wait may end after its call; callers of `sessions` leave that much room."""
_SMALL = st.integers(0, 4)
_SIZES = st.integers(0, 2**62)
_STREAMS = st.integers(0, 9) | st.just(2**40)
_APIS = st.sampled_from(("cuStreamSynchronize", "cudaMemcpy", "cudaGraphLaunch"))


def maybe(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    """Draw a value of `strategy`, or None."""
    return st.none() | strategy


def several(strategy: st.SearchStrategy[T], most: int = 5, least: int = 0) -> st.SearchStrategy[tuple[T, ...]]:
    """Draw a tuple of a few values of `strategy`."""
    return st.lists(strategy, min_size=least, max_size=most).map(tuple)


def index_of(known: tuple[object, ...]) -> st.SearchStrategy[int | None]:
    """Draw an index into `known`, or None."""
    return maybe(st.integers(0, len(known) - 1)) if known else st.none()


@st.composite
def sessions(draw: st.DrawFn, names: Texts, spans: Spans) -> Session:
    """Draw a session.

    Args:
        draw: given by Hypothesis.
        names: what every text in the session is drawn from.
        spans: what start and end of every timed record are drawn from, in ns.
    """
    # Names must differ when written to a file too, where each lone surrogate becomes a question mark.
    variants = draw(st.lists(names, max_size=3, unique_by=lambda name: name.encode("utf-8", "replace")))
    return Session(
        target=draw(names),
        device=draw(st.sampled_from(DeviceKind)),
        environment=draw(st.builds(Environment, names, maybe(names), maybe(names), maybe(names), names, names)),
        recordings=tuple(draw(_recordings(name, names, spans)) for name in variants),
        outputs_equal=draw(maybe(st.booleans())),
        complete=draw(st.booleans()),
        missing=draw(several(names, 2)),
        parameters=draw(maybe(st.dictionaries(names, names, max_size=2))),
        recorder=draw(st.sampled_from(RecordedBy)),
    )


@st.composite
def _recordings(draw: st.DrawFn, name: str, names: Texts, spans: Spans) -> Recording:
    threads = draw(several(names, 3, least=1))
    thread = st.integers(0, len(threads) - 1)
    frames = draw(several(st.builds(Frame, names, _SMALL, names, names, maybe(names), st.booleans()), 3))
    stacks = tuple((index,) for index in range(len(frames)))
    nests = draw(several(several(names, 3, least=1), 2))
    calls = draw(several(st.builds(_call, thread, names.filter(bool) | _APIS, spans), 4))
    ranges = st.builds(lambda index, text, span: RangeEvent(index, text, *span), thread, names, spans)
    steps = draw(several(st.tuples(st.booleans(), spans), 3))
    times = spans.map(lambda span: span[1] - span[0])
    return Recording(
        variant=name,
        steps=tuple(Step(7 - index, warmup, *span) for index, (warmup, span) in enumerate(steps)),
        rounds_ns=draw(several(several(times, 2), 2)),
        modelled=draw(st.booleans()),
        threads=threads,
        frames=frames,
        stacks=stacks,
        syncs=draw(several(_syncs(names, spans, thread, calls, index_of(stacks), index_of(nests)))),
        copies=draw(maybe(several(_copies(names, spans, thread, calls, index_of(stacks))))),
        kernels=draw(maybe(several(_kernels(names, spans, calls)))),
        ranges=draw(several(ranges)),
        coverage=Coverage(draw(several(names, 2)), draw(several(names, 2)), draw(maybe(_SMALL)), 0),
        notes=draw(several(names, 2)),
        range_stacks=nests,
        host_build_ns=draw(several(times, 2)),
        figures=({"x": None, "y": draw(st.floats(allow_nan=False, allow_infinity=False))},),
    )


def _call(thread: int, name: str, span: tuple[int, int]) -> Call:
    return Call(thread, name, *span)


@st.composite
def _syncs(
    draw: st.DrawFn,
    names: Texts,
    spans: Spans,
    threads: st.SearchStrategy[int],
    calls: tuple[Call, ...],
    stacks: st.SearchStrategy[int | None],
    nests: st.SearchStrategy[int | None],
) -> SyncEvent:
    (start, end), thread, api = draw(spans), draw(threads), draw(maybe(names.filter(bool) | _APIS))
    is_of_a_call: bool = draw(st.booleans())
    if calls and is_of_a_call:
        # Like a copy that itself holds the host, or one that a synchronization follows: the wait begins with its call.
        call: Call = draw(st.sampled_from(calls))
        thread, api, start = call.thread, call.name, call.start_ns
        end = call.end_ns + draw(st.integers(0, LONGEST_HOLD_NS))
    return SyncEvent(
        step=draw(maybe(_SMALL)),
        thread=thread,
        kind=draw(st.sampled_from(SyncKind)),
        explicit=draw(st.booleans()),
        op=draw(maybe(names)),
        stack=draw(stacks),
        stream=draw(maybe(_STREAMS)),
        start_ns=draw(st.sampled_from((start, start, start, None))),
        end_ns=draw(st.sampled_from((end, end, end, None))),
        pacing=draw(st.booleans()),
        seen_by=draw(several(names, 2)),
        api=api,
        within=draw(nests),
        allowed=draw(maybe(names)),
        device=draw(_SMALL),
    )


@st.composite
def _copies(
    draw: st.DrawFn,
    names: Texts,
    spans: Spans,
    threads: st.SearchStrategy[int],
    calls: tuple[Call, ...],
    stacks: st.SearchStrategy[int | None],
) -> CopyEvent:
    start, end = draw(spans)
    return CopyEvent(
        step=draw(maybe(_SMALL)),
        thread=draw(threads),
        direction=draw(st.sampled_from(Direction)),
        memory=draw(maybe(st.sampled_from(HostMemory))),
        bytes=draw(_SIZES),
        blocking=draw(maybe(st.booleans())),
        op=draw(maybe(names)),
        stack=draw(stacks),
        stream=draw(maybe(_STREAMS)),
        start_ns=draw(st.sampled_from((start, start, start, None))),
        end_ns=draw(st.sampled_from((end, end, end, None))),
        call=draw(maybe(st.sampled_from(calls))) if calls else None,
        device=draw(_SMALL),
    )


@st.composite
def _kernels(draw: st.DrawFn, names: Texts, spans: Spans, calls: tuple[Call, ...]) -> KernelEvent:
    return KernelEvent(
        draw(maybe(_SMALL)),
        draw(_STREAMS),
        draw(names),
        *draw(spans),
        call=draw(maybe(st.sampled_from(calls))) if calls else None,
        device=draw(_SMALL),
        memset_bytes=draw(maybe(_SIZES)),
    )
