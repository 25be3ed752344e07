"""A range counts, whoever made it and however its function was imported; the waits inside it show that."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import nvtx
import pytest
import torch
from nvtx import annotate, pop_range, push_range
from torch.autograd.profiler import emit_nvtx, record_function
from torch.cuda.nvtx import range as torch_range
from torch.cuda.nvtx import range_pop, range_push
from torch.profiler import record_function as exported_record_function

import syncwatch
from syncwatch.model.session import Recording
from syncwatch.sense.virtual.device import VirtualDevice
from tests.helpers.waits import waits_of

Watched = Callable[[Callable[[torch.Tensor], object]], Recording]


def recorded(code: Callable[[torch.Tensor], object]) -> Recording:
    """Return what was recorded while `code` ran with a number on the device."""
    with syncwatch.watch(device="virtual") as watch:
        code(torch.ones((), device="cuda"))
    return watch.session.recordings[0]


def nests(code: Callable[[torch.Tensor], object]) -> list[tuple[str, ...]]:
    """Return the ranges around each wait of `code`, in order."""
    recording = recorded(code)
    return [() if sync.within is None else recording.range_stacks[sync.within] for sync in waits_of(recording)]


@annotate("decorated")  # type: ignore[untyped-decorator]  # nvtx has no types
def decorated(value: torch.Tensor, *, fails: bool = False) -> float:
    if fails:
        raise ValueError
    return float(value.item())


@record_function("recorded")
def recorded_function(value: torch.Tensor) -> float:
    return float(value.item())


@contextlib.contextmanager
def pushed_by_torch(name: str) -> Iterator[None]:
    range_push(name)
    try:
        yield
    finally:
        range_pop()


@contextlib.contextmanager
def pushed_by_nvtx(name: str, domain: str | None = None) -> Iterator[None]:
    push_range(name, domain=domain)
    yield
    pop_range(domain=domain)


@contextlib.contextmanager
def started_by_torch(name: str) -> Iterator[None]:
    handle = torch.cuda.nvtx.range_start(name)
    yield
    torch.cuda.nvtx.range_end(handle)


@contextlib.contextmanager
def started_by_nvtx(name: str) -> Iterator[None]:
    handle = nvtx.start_range(name)
    yield
    nvtx.end_range(handle)


@contextlib.contextmanager
def by_operator(name: str) -> Iterator[None]:
    handle = torch.ops.profiler._record_function_enter(name)
    yield
    torch.ops.profiler._record_function_exit(handle)


@contextlib.contextmanager
def by_new_operator(name: str) -> Iterator[None]:
    handle = torch.ops.profiler._record_function_enter_new.default(name)
    yield
    torch.ops.profiler._record_function_exit._RecordFunction(handle)


WAYS: dict[str, Callable[[str], Any]] = {
    "syncwatch.annotate": syncwatch.annotate,
    "nvtx.annotate": annotate,
    "nvtx.annotate in a domain": lambda name: annotate(name, domain="app"),
    "nvtx.push_range": pushed_by_nvtx,
    "nvtx.push_range in a domain": lambda name: pushed_by_nvtx(name, "app"),
    "nvtx.start_range": started_by_nvtx,
    "torch.cuda.nvtx.range": torch_range,
    "torch.cuda.nvtx.range_push": pushed_by_torch,
    "torch.cuda.nvtx.range_start": started_by_torch,
    "record_function": record_function,
    "torch.profiler.record_function": exported_record_function,
    "torch.ops.profiler": by_operator,
    "torch.ops.profiler, an overload": by_new_operator,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_range_is_around_what_waits_in_it_and_no_longer(way: str) -> None:
    def code(value: torch.Tensor) -> None:
        with WAYS[way]("outer"):
            value.item()
            with WAYS[way]("inner"):
                value.item()
            value.item()
        value.item()

    assert nests(code) == [("outer",), ("outer", "inner"), ("outer",), ()]


@pytest.mark.parametrize("way", WAYS)
def test_a_range_is_recorded_with_its_times(way: str) -> None:
    def code(value: torch.Tensor) -> None:
        with WAYS[way]("decode"):
            value.item()

    recording = recorded(code)
    spans = [(each.start_ns, each.end_ns) for each in recording.ranges if each.name == "decode"]
    wait = waits_of(recording)[0]
    assert wait.start_ns is not None
    assert [start <= wait.start_ns < end for start, end in spans] == [True]


@pytest.mark.parametrize("way", [way for way in WAYS if "push" not in way and "start" not in way and "ops" not in way])
def test_a_block_that_raises_is_left(way: str) -> None:
    def code(value: torch.Tensor) -> None:
        with contextlib.suppress(ValueError), WAYS[way]("decode"):
            raise ValueError
        value.item()

    assert nests(code) == [()]


def test_a_decorated_function_is_a_range_also_when_it_was_decorated_before() -> None:
    assert nests(decorated) == [("decorated",)]
    assert nests(recorded_function) == [("recorded",)]


def test_a_decorated_function_that_raises_is_left() -> None:
    def code(value: torch.Tensor) -> None:
        with contextlib.suppress(ValueError):
            decorated(value, fails=True)
        value.item()
        decorated(value)
        value.item()

    assert nests(code) == [(), ("decorated",), ()]


def test_user_ranges_count_under_emit_nvtx() -> None:
    def code(value: torch.Tensor) -> None:
        torch.cuda.profiler.start()
        with emit_nvtx(), record_function("decode"):
            value.item()
        torch.cuda.profiler.stop()

    assert ("decode",) in nests(code)


def test_blocks_that_overlap_end_each_for_itself() -> None:
    def code(value: torch.Tensor) -> None:
        for block in (torch_range, annotate, record_function):
            first, second = block("first"), block("second")
            first.__enter__()
            second.__enter__()
            first.__exit__(None, None, None)
            value.item()
            second.__exit__(None, None, None)

    assert nests(code) == [("second",)] * 3


def test_domains_have_their_own_stacks() -> None:
    def code(value: torch.Tensor) -> None:
        push_range("left", domain="left")
        push_range("right", domain="right")
        pop_range(domain="left")
        value.item()
        pop_range(domain="right")

    assert nests(code) == [("right",)]


@pytest.mark.parametrize("way", [torch_range, annotate, record_function])
def test_generators_keep_their_own_ranges(way: Any) -> None:
    def rows(value: torch.Tensor, name: str) -> Generator[float, None, None]:
        with way(name):
            yield value.item()

    def code(value: torch.Tensor) -> None:
        left, right = rows(value, "left"), rows(value, "right")
        next(left)
        next(right)
        left.close()
        value.item()
        right.close()
        value.item()

    assert nests(code) == [("left",), ("right",), (), ()]


def test_tasks_keep_their_own_ranges() -> None:
    async def row(value: torch.Tensor, name: str, others: asyncio.Event, mine: asyncio.Event) -> None:
        with annotate(name):
            mine.set()
            await others.wait()
            value.item()

    async def both(value: torch.Tensor) -> None:
        left, right = asyncio.Event(), asyncio.Event()
        await asyncio.gather(row(value, "left", right, left), row(value, "right", left, right))
        value.item()

    found = nests(lambda value: asyncio.run(both(value)))
    assert sorted(found) == [(), ("left",), ("right",)]


def test_threads_keep_their_own_ranges() -> None:
    def code(value: torch.Tensor) -> None:
        with record_function("main"):
            worker = threading.Thread(target=recorded_function, args=(value,))
            worker.start()
            worker.join()

    assert nests(code) == [("recorded",)]


def test_a_started_range_may_be_ended_by_another_thread() -> None:
    def code(value: torch.Tensor) -> None:
        handle = nvtx.start_range("request")
        value.item()
        worker = threading.Thread(target=nvtx.end_range, args=(handle,))
        worker.start()
        worker.join()
        value.item()

    assert nests(code) == [("request",), ()]


def test_what_was_pushed_and_never_popped_ends_with_the_block_around_it() -> None:
    def code(value: torch.Tensor) -> None:
        with syncwatch.annotate("block"):
            range_push("lost")
            value.item()
        value.item()

    assert nests(code) == [("block", "lost"), ()]


def test_a_range_that_nobody_leaves_is_recorded_until_the_end() -> None:
    recording = recorded(lambda value: (range_push("open"), value.item()))
    assert [each.name for each in recording.ranges] == ["open"]


def test_a_range_that_was_left_while_nothing_recorded_is_not_around_the_next_watch() -> None:
    recorded(lambda value: push_range("before"))
    pop_range()
    assert nests(lambda value: value.item()) == [()]


def test_nothing_stays_patched() -> None:
    before = [dict(vars(owner)) for owner in _owners()]
    with syncwatch.watch(device="virtual"):
        assert [dict(vars(owner)) for owner in _owners()] != before
    assert [dict(vars(owner)) for owner in _owners()] == before


def _owners() -> list[Any]:
    native: Any = vars(torch.cuda.nvtx)["_nvtx"]
    enter = torch.ops.profiler._record_function_enter_new
    return [native, nvtx.nvtx, nvtx.annotate, enter, enter.default]


def test_ranges_do_not_fail_on_the_virtual_device_and_do_without_it() -> None:
    if torch.cuda.is_available():
        pytest.skip("a build for CUDA has the ranges")
    device = VirtualDevice()
    device.start()
    try:
        assert (range_push("a"), range_push("b"), range_pop(), range_pop()) == (0, 1, 1, 0)
    finally:
        device.stop()
    if not hasattr(torch._C, "_nvtx"):
        with pytest.raises(RuntimeError, match="CUDA build"):
            range_push("a")


def test_ranges_of_torchs_own_do_not_name_a_wait_without_a_line() -> None:
    from syncwatch.attribute.stacks import range_of

    assert range_of(("decode", "Optimizer.step#SGD.step"), live=True) == "decode"
    assert range_of(("Optimizer.step#SGD.step",), live=True) is None
    assert range_of(("decode", "Optimizer.step#SGD.step"), live=False) == "Optimizer.step#SGD.step"
