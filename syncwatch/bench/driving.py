"""Finishes work that a user's function only returned: awaits coroutines, runs through generators, waits for futures.

Calling an `async def` or a generator function runs none of its code.
"""

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import AsyncIterator, Awaitable, Iterator
from concurrent.futures import Future
from typing import Any

from syncwatch.errors import UsageError


def drive(result: object, target: str) -> None:
    """Run what `result` has still to do: await it, iterate over it, or wait for it; anything else is left as it is.

    Args:
        result: what the function `target` returned.
        target: how the user named it.

    Raises:
        UsageError: if it is awaitable and cannot be awaited here, as a future of an event loop that has ended.
    """
    # A value that it gives is driven too: a coroutine that returns a generator has still done nothing.
    while True:
        if isinstance(result, Future):
            result = result.result()
        elif isinstance(result, asyncio.Future):
            if not result.done():
                raise UsageError(
                    f"{target} returned a future of an event loop that no longer runs, so that it never ends. Make it "
                    "an `async def` that awaits it."
                )
            result = result.result()
        elif inspect.isawaitable(result):
            result = asyncio.run(_awaited(result))
        elif isinstance(result, AsyncIterator):
            asyncio.run(_exhausted(result))
            return
        elif isinstance(result, Iterator) and not isinstance(result, io.IOBase):
            for _ in result:
                pass
            return
        else:
            return


async def _awaited(result: Awaitable[Any]) -> Any:
    found = await result
    if isinstance(found, AsyncIterator):
        # In the loop that made it.
        await _exhausted(found)
        return None
    return found


async def _exhausted(result: AsyncIterator[Any]) -> None:
    async for _ in result:
        pass
