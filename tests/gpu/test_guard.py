"""`syncwatch.guard` on a real GPU: it raises where the host waits, and leaves everything as it was."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable

import pytest
import torch

import syncwatch

pytestmark = pytest.mark.gpu


def vector() -> torch.Tensor:
    return torch.arange(8.0, device="cuda")


def recorded() -> torch.cuda.Event:
    event = torch.cuda.Event()
    event.record()
    return event


WAYS: dict[str, tuple[str, Callable[[torch.Tensor], object]]] = {
    "item": ("SW101", lambda x: x.sum().item()),
    "tolist": ("SW102", lambda x: x.tolist()),
    "branch": ("SW103", lambda x: bool(x.any())),
    "read": ("SW104", lambda x: x.cpu()),
    "mask": ("SW201", lambda x: x[x > 3]),
    "nonzero": ("SW202", lambda x: (x > 3).nonzero()),
    "upload": ("SW301", lambda x: torch.tensor([1, 2], device="cuda")),
    "held copy": ("SW304", lambda x: torch.empty(8).copy_(x, non_blocking=True)),
    "device": ("SW401", lambda x: torch.cuda.synchronize()),
    "accelerator": ("SW401", lambda x: torch.accelerator.synchronize()),
    "stream": ("SW402", lambda x: torch.cuda.current_stream().synchronize()),
    "event": ("SW403", lambda x: recorded().synchronize()),
}


@pytest.mark.parametrize(("code", "call"), WAYS.values(), ids=WAYS.keys())
def test_every_way_to_wait_raises_with_its_cause(code: str, call: Callable[[torch.Tensor], object]) -> None:
    x = vector()
    with syncwatch.guard("disallow"), pytest.raises(syncwatch.SyncError) as caught:
        call(x)
    assert caught.value.code == code
    assert "tests/gpu/test_guard.py:" in str(caught.value)


def test_it_raises_inside_blocks_that_silence_warnings() -> None:
    x = vector()
    with syncwatch.guard("disallow"), warnings.catch_warnings(record=True):
        warnings.simplefilter("ignore")
        with pytest.raises(syncwatch.SyncError):
            x.sum().item()


def test_it_raises_where_the_same_line_has_warned_before() -> None:
    x = vector()

    def read() -> float:
        return float(x.sum().item())

    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchronizing"), warnings.catch_warnings():
            warnings.simplefilter("default")
            read()
        with syncwatch.guard("disallow"), pytest.raises(syncwatch.SyncError):
            read()
        with pytest.warns(UserWarning, match="synchronizing"), syncwatch.guard("allow"):
            read()
        assert torch.cuda.get_sync_debug_mode() == 1
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_other_threads_and_tasks_wait_and_no_warning_is_shown() -> None:
    x, seen = vector(), []

    async def free() -> float:
        await asyncio.sleep(0)
        return float(x.sum().item())

    async def guarded() -> str:
        with syncwatch.guard("disallow"):
            await asyncio.sleep(0)
            with pytest.raises(syncwatch.SyncError) as caught:
                x.sum().item()
            return caught.value.code

    async def both() -> list[object]:
        return list(await asyncio.gather(free(), guarded()))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with syncwatch.guard("disallow"):
            thread = threading.Thread(target=lambda: seen.append(x.sum().item()))
            thread.start()
            thread.join()
        assert asyncio.run(both()) == [28.0, "SW101"]
    assert seen == [28.0]


def test_a_wait_in_the_backward_pass_raises_at_the_call() -> None:
    leaf = torch.linspace(-1, 1, 64, device="cuda", requires_grad=True)
    mask = leaf.detach() > 0
    torch.autograd.backward(leaf[mask].sum())
    loss = leaf[mask].sum()

    with syncwatch.guard("disallow"), pytest.raises(syncwatch.SyncError):
        torch.autograd.backward(loss)


def test_a_watch_inside_and_outside_sees_what_an_allow_lets_wait() -> None:
    x = vector()
    with syncwatch.watch(device="cuda") as outer, syncwatch.guard("disallow"):
        with syncwatch.watch(device="cuda") as inner, syncwatch.allow("once"):
            x.sum().item()
        torch.empty(8).pin_memory().copy_(x, non_blocking=True)

    for watch in (inner, outer):
        assert [(site.code, site.allowed) for site in watch.report.sites if site.code == "SW101"] == [("SW101", "once")]


def test_the_mode_and_the_filters_are_as_they_were_and_what_is_wrapped_stays_so() -> None:
    x = vector()
    with syncwatch.guard("disallow"):
        x.sum()

    def state() -> tuple[object, ...]:
        return (
            torch.cuda.get_sync_debug_mode(),
            list(warnings.filters),
            warnings.showwarning,
            dict(vars(torch.Tensor)),
            torch._C._cuda_synchronize,
            torch.cuda.Event.synchronize,
        )

    before = state()
    with pytest.raises(syncwatch.SyncError), syncwatch.guard("disallow"):
        x.sum().item()
    assert state() == before
    torch.cuda.synchronize()
    torch.zeros(8).copy_(x, non_blocking=True)


def test_lines_alone_see_every_wait_through_torch_without_cupti() -> None:
    x, host = vector(), torch.zeros(8)
    with syncwatch.watch(device="cuda", prices=False) as watch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x.sum().item()
        torch.cuda.synchronize()
        recorded().synchronize()
        host.copy_(x, non_blocking=True)

    report = watch.report
    assert {site.code for site in report.sites} == {"SW101", "SW304", "SW401", "SW403"}
    assert (report.coverage.seen, report.coverage.attributed) == (4, 4)
    assert "cupti" not in report.coverage.sensors
    assert all(site.host_blocked_us is None for site in report.sites)
