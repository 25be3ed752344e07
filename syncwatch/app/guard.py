"""Lets code say that it may wait, or must not: `with syncwatch.allow("reason")`, `guard("disallow")`.

Both hold for the running thread or asyncio task alone, and for tasks that it starts inside; threads that it starts have
no guard. Both nest, the inner one wins, and both are decorators too, of coroutine functions as well.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from typing_extensions import Self, assert_never

from syncwatch.errors import SyncError, UsageError
from syncwatch.judge.allows import reason_and_day
from syncwatch.model.analysis import Finding
from syncwatch.model.report import NO_LINE
from syncwatch.model.session import Coverage
from syncwatch.model.verdict import Level
from syncwatch.sense.active import ACTIVE_GUARDS, GuardedWait, WaitHandler
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.scopes.scope import ALLOWED, ScopeBlock

_LOG = logging.getLogger("syncwatch.guard")
_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Block:
    """A `with` block, or what a decorated function runs in."""

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def _again(self) -> Self:
        """Return a block of its own for one call: a decorated function may run in several threads at once."""
        raise NotImplementedError

    def __call__(self, function: _Function) -> _Function:
        """Return `function`, run in this block.

        Raises:
            UsageError: for a generator function, which would leave the block at once.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise UsageError(f"{function.__name__} is a generator and runs in pieces. Put a `with` block inside it.")

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return await function(*args, **kwargs)

            return awaited  # type: ignore[return-value]

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return called  # type: ignore[return-value]


class allow(_Block):  # noqa: N801  # used as `with syncwatch.allow("reason"):`
    """Lets what is inside wait, for a reason that reports repeat; what it costs is still reported.

    Args:
        reason: why it may wait; "... until 2027-03-01" holds through that day, after which the gate fails.

    Raises:
        UsageError: without a reason, or with a date that cannot be read.
    """

    def __init__(self, reason: str) -> None:
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError('An allow needs a reason. Write it as syncwatch.allow("logits leave the GPU once").')
        if not reason_and_day(reason, "syncwatch.allow")[0]:
            raise UsageError('An allow needs a reason beside its date. Write it as syncwatch.allow("why until ...").')
        self._reason = reason.strip()
        self._reasons: list[ScopeBlock[str]] = []
        self._unguarded: list[ScopeBlock[WaitHandler | None]] = []

    def __enter__(self) -> Self:
        self._reasons.append(ALLOWED.enter(self._reason))
        self._unguarded.append(ACTIVE_GUARDS.enter(None))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ACTIVE_GUARDS.leave(ACTIVE_GUARDS.latest(self._unguarded))
        ALLOWED.leave(ALLOWED.latest(self._reasons))

    def _again(self) -> Self:
        return type(self)(self._reason)


class _Guard(_Block):
    """A guard; see `guard`."""

    def __init__(self, handler: WaitHandler | None) -> None:
        self._handler = handler
        self._blocks: list[ScopeBlock[WaitHandler | None]] = []

    def __enter__(self) -> Self:
        if self._handler is not None:
            from syncwatch.sense.cuda.guard_hooks import HOOKS

            HOOKS.enter()
        self._blocks.append(ACTIVE_GUARDS.enter(self._handler))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ACTIVE_GUARDS.leave(ACTIVE_GUARDS.latest(self._blocks))
        if self._handler is not None:
            from syncwatch.sense.cuda.guard_hooks import HOOKS

            HOOKS.leave()

    def _again(self) -> Self:
        return type(self)(self._handler)


class _Off(_Block):
    """Does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def _again(self) -> Self:
        return self


_OFF = _Off()


def guard(level: str = "disallow", *, enabled: bool = True) -> _Block:
    """Return a block in which the host may not wait for the GPU, or is logged when it does.

    It sees every wait through torch, explicit ones too, on CUDA and inside a virtual watch. On a machine without a
    GPU, outside a virtual watch, nothing can wait, so it does nothing. Libraries that call CUDA by themselves are not
    seen.

    Args:
        level: "disallow" raises `SyncError` at the line that waits; "log" writes it to the logger `syncwatch.guard`;
            "allow" takes an outer guard off.
        enabled: False makes it cost nothing, for a guard that stays in the code.

    Raises:
        UsageError: if there is no such level.
    """
    if not enabled:
        return _OFF
    try:
        return _Guard(_handler_of(Level(level)))
    except ValueError:
        levels = ", ".join(each.value for each in Level)
        raise UsageError(f"There is no guard level {level!r}. Choose one of {levels}.") from None


def _handler_of(level: Level) -> WaitHandler | None:
    if level is Level.DISALLOW:
        return _raise
    if level is Level.LOG:
        return _log
    if level is Level.ALLOW:
        return None
    assert_never(level)


def _raise(wait: GuardedWait) -> None:
    found = _finding(wait)
    raise SyncError(f"{_sentence(found)} A guard disallows waiting here. To fix: {found.hint}", code=found.code)


def _log(wait: GuardedWait) -> None:
    _LOG.warning("%s", _sentence(_finding(wait)))


def _sentence(found: Finding) -> str:
    place = "a line outside Python" if found.file == NO_LINE else f"{found.file}:{found.line}"
    code = f": `{found.source}`" if found.source else ""
    return f"{place}: {found.code}: {found.title}{code}."


def _finding(wait: GuardedWait) -> Finding:
    """Return the line and the cause of one wait, as a report would name them."""
    recorder = Recorder(now_ns=lambda: 0)
    stack = None if wait.frame is None else recorder.stack(wait.frame)
    recorder.sync(wait.kind, explicit=wait.explicit, op=wait.op, sensor="guard", stack=stack)
    if wait.direction is not None:
        recorder.copy(wait.direction, None, wait.size, blocking=True, op=wait.op, stack=stack)
    seen = recorder.freeze("guard", Coverage(("guard",), (), 1, 1), modelled=False)
    # Here, since a guard at which nothing waits needs nothing of it.
    from syncwatch.pipeline import analysed_recording

    found = analysed_recording(seen).waits[0].finding
    assert found is not None
    return found
