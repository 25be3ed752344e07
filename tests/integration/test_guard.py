"""`syncwatch.guard` and `syncwatch.allow` on the virtual device."""

from __future__ import annotations

import asyncio
import logging
import pickle
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import torch

import syncwatch
from syncwatch.errors import UsageError


@pytest.fixture(autouse=True)
def _device() -> Iterator[None]:
    with syncwatch.watch(device="virtual"):
        yield


HOST = torch.device("cpu")


def vector() -> torch.Tensor:
    return torch.arange(8.0, device="cuda")


def helper(x: torch.Tensor) -> float:
    return float(x.sum().item())


WAYS: dict[str, tuple[str, Callable[[torch.Tensor], object]]] = {
    "item": ("SW101", lambda x: x.sum().item()),
    "tolist": ("SW102", lambda x: x.tolist()),
    "branch": ("SW103", lambda x: bool(x.any())),
    "read": ("SW104", lambda x: x.cpu()),
    "read to a device in a variable": ("SW104", lambda x: x.to(HOST)),
    "upload to a device in a variable": ("SW302", lambda x: torch.ones(8).to(x.device)),
    "print": ("SW105", lambda x: f"{x}"),
    "mask": ("SW201", lambda x: x[x > 3]),
    "upload": ("SW301", lambda x: torch.tensor([1, 2], device="cuda")),
    "held copy": ("SW304", lambda x: torch.empty(8).copy_(x, non_blocking=True)),
    "device": ("SW401", lambda x: torch.cuda.synchronize()),
    "stream": ("SW402", lambda x: torch.cuda.current_stream().synchronize()),
    "event": ("SW403", lambda x: recorded().synchronize()),
}


def recorded() -> torch.cuda.Event:
    event = torch.cuda.Event()
    event.record()
    return event


@pytest.mark.parametrize(("code", "call"), WAYS.values(), ids=WAYS.keys())
def test_every_way_to_wait_raises_with_its_cause(code: str, call: Callable[[torch.Tensor], object]) -> None:
    x = vector()
    with syncwatch.guard("disallow"), pytest.raises(syncwatch.SyncError) as caught:
        call(x)
    assert caught.value.code == code


def test_the_line_and_the_hint_are_named() -> None:
    x = vector()
    with pytest.raises(syncwatch.SyncError) as caught, syncwatch.guard("disallow"):
        helper(x)

    line = helper.__code__.co_firstlineno + 1
    assert f"tests/integration/test_guard.py:{line}: SW101" in str(caught.value)
    assert "`return float(x.sum().item())`" in str(caught.value) and "keep the value on the GPU" in str(caught.value)
    assert line in {entry.lineno + 1 for entry in caught.traceback}


def test_what_does_not_wait_does_not_raise() -> None:
    x = vector()
    with syncwatch.guard("disallow"):
        y = torch.where(x > 3, x, 0.0).sum()
        staged = torch.empty((), pin_memory=True).copy_(y, non_blocking=True)
    assert staged.item() == 22.0


def test_guards_nest_and_the_inner_one_wins(caplog: pytest.LogCaptureFixture) -> None:
    x = vector()
    with syncwatch.guard("disallow"):
        with syncwatch.guard("allow"):
            helper(x)
            with syncwatch.guard("disallow"), pytest.raises(syncwatch.SyncError):
                helper(x)
            helper(x)
        with syncwatch.guard("log"), caplog.at_level(logging.WARNING, "syncwatch.guard"):
            helper(x)
        with pytest.raises(syncwatch.SyncError):
            helper(x)
    helper(x)
    assert [record.message.split(": ")[1] for record in caplog.records] == ["SW101"]


def test_an_allow_lets_wait_and_the_report_repeats_its_reason() -> None:
    x = vector()
    with syncwatch.watch(device="virtual") as watch, syncwatch.guard("disallow"), syncwatch.allow("once a request"):
        helper(x)

    (site,) = watch.report.sites
    assert (site.allowed, site.calls) == ("once a request", 1)
    assert site.host_blocked_us is not None


def test_the_inner_reason_counts_and_the_outer_one_comes_back() -> None:
    x = vector()
    with syncwatch.watch(device="virtual") as watch, syncwatch.allow("outer"):
        x.sum().item()
        with syncwatch.allow("inner"):
            x.max().item()
        x.min().item()
    reasons = {site.source: site.allowed for site in watch.report.sites}
    assert reasons == {"x.sum().item()": "outer", "x.max().item()": "inner", "x.min().item()": "outer"}


def test_a_guard_holds_for_its_thread_alone() -> None:
    x, seen = vector(), []

    def other() -> None:
        seen.append(helper(x))

    with syncwatch.guard("disallow"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert seen == [28.0]


def test_a_guard_of_a_thread_does_not_reach_the_one_that_started_it() -> None:
    x, errors = vector(), []
    inside, done = threading.Event(), threading.Event()

    def guarded() -> None:
        with syncwatch.guard("disallow"):
            inside.set()
            done.wait(10)
            try:
                helper(x)
            except syncwatch.SyncError as error:
                errors.append(error.code)

    thread = threading.Thread(target=guarded)
    thread.start()
    assert inside.wait(10)
    assert helper(x) == 28.0
    done.set()
    thread.join()
    assert errors == ["SW101"]


def test_a_guard_holds_for_its_task_alone() -> None:
    x = vector()

    async def free(inside: asyncio.Event, done: asyncio.Event) -> float:
        await inside.wait()
        value = helper(x)
        done.set()
        return value

    async def guarded(inside: asyncio.Event, done: asyncio.Event) -> str:
        with syncwatch.guard("disallow"):
            inside.set()
            await done.wait()
            with pytest.raises(syncwatch.SyncError) as caught:
                helper(x)
            return caught.value.code

    async def both() -> list[object]:
        inside, done = asyncio.Event(), asyncio.Event()
        return list(await asyncio.gather(free(inside, done), guarded(inside, done)))

    assert asyncio.run(both()) == [28.0, "SW101"]


def test_a_wait_in_the_backward_pass_raises_at_the_call() -> None:
    class Reads(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: object, grad: torch.Tensor) -> torch.Tensor:
            return grad * grad.sum().item()

    x = vector().requires_grad_()
    loss = Reads.apply(x).sum()  # type: ignore[no-untyped-call]
    with syncwatch.guard("disallow"), pytest.raises(syncwatch.SyncError):
        loss.backward()


def test_guard_and_allow_are_decorators() -> None:
    x = vector()

    @syncwatch.guard("disallow")
    def strict(depth: int) -> float:
        return strict(depth - 1) if depth else helper(x)

    @syncwatch.allow("read once")
    def reads() -> float:
        return helper(x)

    @syncwatch.guard("disallow")
    async def serves() -> float:
        await asyncio.sleep(0)
        return reads() + helper(x)

    with pytest.raises(syncwatch.SyncError):
        strict(3)
    with syncwatch.guard("disallow"):
        assert reads() == 28.0
    with pytest.raises(syncwatch.SyncError):
        asyncio.run(serves())
    assert strict.__name__ == "strict" and helper(x) == 28.0


def test_a_generator_cannot_be_decorated() -> None:
    def steps() -> Iterator[int]:
        yield 1

    with pytest.raises(UsageError, match="Put a `with` block inside it"):
        syncwatch.guard("disallow")(steps)


@pytest.mark.parametrize("reason", ["", "  ", None, helper])
def test_an_allow_without_a_reason_is_refused(reason: object) -> None:
    with pytest.raises(UsageError, match="needs a reason"):
        syncwatch.allow(reason)  # type: ignore[arg-type]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(UsageError, match="Choose one of allow, log, disallow"):
        syncwatch.guard("forbid")


def test_a_guard_that_is_off_does_nothing() -> None:
    x = vector()
    with syncwatch.guard("disallow", enabled=False):
        assert helper(x) == 28.0


def test_an_error_inside_leaves_no_guard_behind() -> None:
    x = vector()
    with pytest.raises(ZeroDivisionError), syncwatch.guard("disallow"), syncwatch.allow("x"):
        _ = 1 / 0
    assert helper(x) == 28.0


def test_the_error_can_be_sent_to_another_process() -> None:
    x = vector()
    with syncwatch.guard("disallow"), pytest.raises(syncwatch.SyncError) as caught:
        helper(x)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.code) == (str(caught.value), "SW101")


def test_without_a_device_a_guard_has_nothing_to_watch() -> None:
    assert "cuda" not in str(torch.zeros(1).device)
    with syncwatch.guard("disallow"):
        assert torch.ones(3).sum().item() == 3.0


def test_the_name_is_looked_up_once() -> None:
    assert syncwatch.guard is vars(sys.modules["syncwatch"])["guard"]
