"""A block that excuses waits holds for the code that entered it alone, not for other code that runs meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch

import syncwatch
from syncwatch.errors import SyncError
from syncwatch.sense.scopes import scope
from tests.helpers.waits import waits_of


def warm() -> AbstractContextManager[Any]:
    """Return a step that excuses what waits in it."""
    return syncwatch.step(warmup=True)


def allowed() -> AbstractContextManager[Any]:
    """Return a block that may wait."""
    return syncwatch.allow("reads once")


def named() -> AbstractContextManager[Any]:
    """Return a range, for which a policy may allow waits."""
    return syncwatch.annotate("loading")


BLOCKS = pytest.mark.parametrize("block", [warm, allowed, named])


@contextlib.contextmanager
def watched() -> Iterator[Callable[[], list[bool]]]:
    """Watch a block on the virtual device, and give what says of each of its waits whether something excuses it."""
    found: list[bool] = []
    with syncwatch.watch(device="virtual") as watch:
        yield lambda: found
    (recording,) = watch.session.recordings
    warm_up = {step.index for step in recording.steps if step.warmup}
    for sync in waits_of(recording):
        ranges = recording.range_stacks[sync.within] if sync.within is not None else ()
        found.append(sync.step in warm_up or sync.allowed is not None or "loading" in ranges)


def wait() -> None:
    """Wait, by reading a value from the GPU."""
    torch.ones(3, device="cuda").sum().item()


def in_turns(block: Callable[[], AbstractContextManager[Any]]) -> Iterator[int]:
    """Wait twice in the block, and stop between."""
    with block():
        wait()
        yield 1
        wait()


@BLOCKS
def test_a_suspended_generator_excuses_nothing_of_its_caller(block: Any) -> None:
    with watched() as excused:
        for _ in in_turns(block):
            wait()
        wait()
    assert excused() == [True, False, True, False]


@BLOCKS
def test_generators_that_end_in_another_order_leave_nothing_behind(block: Any) -> None:
    with watched() as excused:
        first, second = in_turns(block), in_turns(block)
        next(first), next(second)
        list(first)
        list(second)
        wait()
    assert excused() == [True, True, True, True, False]


@BLOCKS
def test_blocks_that_end_in_another_order_leave_nothing_behind(block: Any) -> None:
    with watched() as excused:
        first, second = block(), block()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        wait()
        second.__exit__(None, None, None)
        wait()
    assert excused() == [True, False]


@BLOCKS
def test_a_context_manager_made_of_a_generator_is_entered_for_its_caller(block: Any) -> None:
    @contextlib.contextmanager
    def loading() -> Iterator[None]:
        with block():
            yield

    def steps() -> Iterator[int]:
        with loading():
            wait()
            yield 1

    with watched() as excused:
        with loading(), contextlib.ExitStack() as stack:
            wait()
            stack.enter_context(loading())
            wait()
        for _ in steps():
            wait()
    assert excused() == [True, True, True, False]


class _ByHand:
    """Runs the halves of a generator around its block."""

    def __init__(self, halves: Iterator[Any]) -> None:
        self._halves = halves

    def __enter__(self) -> None:
        next(self._halves)

    def __exit__(self, *_: object) -> None:
        next(self._halves, None)


@BLOCKS
def test_so_is_one_that_is_made_by_hand(block: Any) -> None:
    with watched() as excused, _ByHand(in_turns(block)):
        wait()
    assert excused() == [True, True, True]


@pytest.fixture(params=[warm, allowed, named])
def around(request: Any) -> Iterator[Callable[[], list[bool]]]:
    """Watch, and excuse what the test does."""
    found: list[bool] = []
    with watched() as excused:
        with request.param():
            yield lambda: found
        found.extend(excused())


def test_a_fixture_is_entered_for_its_test(around: Callable[[], list[bool]]) -> None:
    assert scope.STEPS.all() or scope.allowed() or scope.ranges()
    assert around() == []


@BLOCKS
def test_a_coroutine_that_is_sent_by_hand_excuses_nothing_of_its_caller(block: Any) -> None:
    class Turn:
        def __await__(self) -> Generator[None, None, None]:
            yield

    async def inner() -> None:
        with block():
            wait()
            await Turn()
            wait()

    async def outer() -> None:
        await inner()

    with watched() as excused:
        running = outer()
        running.send(None)
        wait()
        with contextlib.suppress(StopIteration):
            running.send(None)
        wait()
    assert excused() == [True, False, True, False]


@BLOCKS
def test_an_async_generator_excuses_nothing_of_the_loop_over_it(block: Any) -> None:
    async def values() -> AsyncIterator[int]:
        with block():
            wait()
            yield 1
            wait()

    async def main() -> None:
        async for _ in values():
            wait()
        wait()

    with watched() as excused:
        asyncio.run(main())
    assert excused() == [True, False, True, False]


@BLOCKS
def test_tasks_and_contexts_that_begin_inside_have_it(block: Any) -> None:
    async def reads() -> None:
        await asyncio.sleep(0)
        wait()

    async def enters(stack: contextlib.ExitStack) -> None:
        stack.enter_context(block())

    async def main() -> None:
        with contextlib.ExitStack() as stack:
            await enters(stack)
            wait()
            task = asyncio.create_task(reads())
            await task
            await asyncio.to_thread(wait)
            asyncio.get_running_loop().call_soon(wait)
            await asyncio.sleep(0)
        wait()

    with watched() as excused:
        asyncio.run(main())
    assert excused() == [True, True, True, True, False]


def test_a_copied_context_goes_on_without_the_generator() -> None:
    def copies() -> Iterator[contextvars.Context]:
        with allowed():
            yield contextvars.copy_context()

    with watched() as excused:
        generator = copies()
        context = next(generator)
        context.run(wait)
        wait()
        generator.close()  # type: ignore[attr-defined]
    assert excused() == [True, False]


def test_a_suspended_generator_takes_no_guard_off() -> None:
    def reads() -> Iterator[int]:
        with allowed():
            yield 1

    with syncwatch.watch(device="virtual"), syncwatch.guard("disallow"):
        generator = reads()
        next(generator)
        with pytest.raises(SyncError):
            wait()
        generator.close()  # type: ignore[attr-defined]


def test_a_block_that_is_left_in_another_thread_has_ended() -> None:
    stack = contextlib.ExitStack()
    with watched() as excused:
        stack.enter_context(allowed())
        wait()
        thread = threading.Thread(target=stack.close)
        thread.start()
        thread.join()
        wait()
    assert excused() == [True, False]


class _Other:
    """A thread outside of every step, which waits once for each call of `waits`."""

    def __init__(self) -> None:
        self._turn, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._ends = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while self._turn.acquire() and not self._ends:
            wait()
            self._done.release()

    def waits(self) -> None:
        """Let the thread wait once, and return when it has."""
        self._turn.release()
        self._done.acquire()

    def end(self) -> None:
        """End the thread."""
        self._ends = True
        self._turn.release()
        self._thread.join()


def _child_waits() -> None:
    child = threading.Thread(target=wait)
    child.start()
    child.join()


def test_the_warm_up_of_one_thread_excuses_nothing_of_another() -> None:
    with watched() as excused:
        other = _Other()
        with warm():
            other.waits()
        other.waits()
        other.end()
    assert excused() == [False, False]


def test_a_thread_that_a_warm_up_step_started_is_excused_until_it_ends() -> None:
    with watched() as excused:
        with warm():
            other = _Other()
            other.waits()
            thread = threading.Thread(target=_child_waits)
            thread.start()
            thread.join()
        other.waits()
        with warm():
            other.waits()
        other.end()
    assert excused() == [True, True, False, False]


def test_the_warm_up_of_one_task_excuses_nothing_of_another() -> None:
    async def warms(inside: asyncio.Event, done: asyncio.Event) -> None:
        with warm():
            inside.set()
            await done.wait()

    async def main() -> None:
        inside, done = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(warms(inside, done))
        await inside.wait()
        wait()
        done.set()
        await task

    with watched() as excused:
        asyncio.run(main())
    assert excused() == [False]


def test_another_thread_still_works_for_a_measured_step() -> None:
    with syncwatch.watch(device="virtual") as watch:
        other = _Other()
        with syncwatch.step():
            other.waits()
        with warm(), syncwatch.step():
            other.waits()
        other.end()
    (recording,) = watch.session.recordings
    measured = {step.index for step in recording.steps if not step.warmup}
    assert {sync.step for sync in waits_of(recording)} == measured


def test_steps_of_two_threads_that_overlap_leave_nothing_behind() -> None:
    first, second = warm(), warm()
    with watched() as excused:
        first.__enter__()
        thread = threading.Thread(target=second.__enter__)
        thread.start()
        thread.join()
        first.__exit__(None, None, None)
        thread = threading.Thread(target=lambda: second.__exit__(None, None, None))
        thread.start()
        thread.join()
        wait()
    assert excused() == [False]


def autograd_waits(recorder: Any, found: list[int | None]) -> None:
    """Ask for the step in a thread that is called as those of autograd are."""
    thread = threading.Thread(target=lambda: found.append(recorder.step()), name="autograd backward (pt_autograd_0)")
    thread.start()
    thread.join()


@pytest.mark.parametrize("backward", [True, False])
def test_autograd_works_for_the_warm_up_whose_thread_runs_backward(backward: bool) -> None:
    from syncwatch.sense import active
    from syncwatch.sense.recorder import Recorder

    def _engine_run_backward() -> None:
        autograd_waits(recorder, found)

    recorder = Recorder(now_ns=lambda: 0)
    found: list[int | None] = []
    active.push(recorder)
    try:
        with warm():
            if backward:
                _engine_run_backward()
            else:
                autograd_waits(recorder, found)
    finally:
        active.pop(recorder)
    assert found == ([0] if backward else [None])
