"""What a function returned is driven to its end, so that no work of it is left undone."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from syncwatch.bench.target import run_to_end
from syncwatch.errors import UsageError

ran: list[str] = []


async def coroutine() -> None:
    await asyncio.sleep(0)
    ran.append("coroutine")


async def of_a_generator() -> Iterator[None]:
    return generator()


async def of_an_async_generator() -> AsyncIterator[None]:
    return async_generator()


def generator() -> Iterator[None]:
    yield
    ran.append("generator")


async def async_generator() -> AsyncIterator[None]:
    yield
    ran.append("async generator")


class Waits:
    def __await__(self) -> Generator[None, None, None]:
        yield
        ran.append("awaitable")


async def waits() -> Awaitable[None]:
    return Waits()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (coroutine, "coroutine"),
        (generator, "generator"),
        (async_generator, "async generator"),
        (Waits, "awaitable"),
        (waits, "awaitable"),
        (of_a_generator, "generator"),
        (of_an_async_generator, "async generator"),
        (lambda: map(ran.append, ["map"]), "map"),
        (lambda: ThreadPoolExecutor(1).submit(ran.append, "future"), "future"),
    ],
)
def test_it_runs_to_its_end(make: Callable[[], object], said: str) -> None:
    ran.clear()
    run_to_end(make(), "pkg:main")
    assert ran == [said]


def test_a_value_is_left_as_it_is() -> None:
    ran.clear()
    numbers, file = [1, 2], io.StringIO("one\ntwo\n")
    for value in (None, 3, "words", numbers, file, lambda: ran.append("called")):
        run_to_end(value, "pkg:main")
    assert (ran, numbers, file.tell()) == ([], [1, 2], 0)


def test_a_future_of_a_loop_that_has_ended_is_refused() -> None:
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    loop.close()
    with pytest.raises(UsageError, match="pkg:main returned a future of an event loop that no longer runs"):
        run_to_end(future, "pkg:main")
