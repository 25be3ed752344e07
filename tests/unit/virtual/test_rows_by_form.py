"""A row that depends on the form of a call alone is evaluated once for each form; its waits are recorded each time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from syncwatch.sense.active import ACTIVE_GUARDS
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice
from syncwatch.sense.virtual.operators.table import BlockingOp
from tests.helpers.waits import waits_of


@pytest.fixture
def asked(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The operators whose rows were asked, in order."""
    names: list[str] = []
    calls: Any = vars(BlockingOp)["calls"]

    def noting(row: BlockingOp) -> Callable[..., Any]:
        names.append(row.name)
        found: Callable[..., Any] = calls.__get__(row)
        return found

    monkeypatch.setattr(BlockingOp, "calls", property(noting))
    return names


def test_a_form_that_asks_nothing_is_asked_once(asked: list[str]) -> None:
    x = torch.zeros(7, 3, 5, device="cuda")
    places = torch.tensor([1, 2], device="cuda")
    for _ in range(4):
        x[places]
    assert asked.count("aten.index") == 1


def test_another_size_or_type_is_another_form(asked: list[str], recorder: Recorder) -> None:
    x = torch.zeros(11, 3, 5, device="cuda")
    for places in ([0, 1], [0, 1, 2], [True] * 11):
        index = torch.tensor(places, device="cuda")
        for _ in range(2):
            x[index]
    assert asked.count("aten.index") == 4
    assert [each.op for each in recorder.syncs].count("aten.index") == 2


def test_a_mask_of_the_host_is_asked_every_time(asked: list[str], recorder: Recorder) -> None:
    x = torch.zeros(13, device="cuda")
    mask = torch.zeros(13, dtype=torch.bool)
    x[mask]
    before = len(recorder.copies)
    mask[0] = True
    x[mask]
    assert asked.count("aten.index") == 2
    assert len(recorder.copies) > before


def test_a_value_on_the_device_is_read_every_time(asked: list[str], recorder: Recorder) -> None:
    x = torch.zeros(17, device="cuda")
    mask, value = x == 0, torch.tensor(2.0, device="cuda")
    before = len(recorder.syncs)
    for _ in range(3):
        x.masked_fill_(mask, 1.0)
        x.masked_fill_(mask, value)
    assert len(recorder.syncs) - before == 3


def test_a_read_is_one_copy_and_one_wait_of_one_line(recorder: Recorder) -> None:
    x = torch.ones(3, device="cuda")
    x.sum().item()
    (copy,), (wait,) = recorder.copies, waits_of(recorder)
    kernel = recorder.kernels[-1]
    assert (copy.stack, copy.step, copy.thread, copy.op) == (wait.stack, wait.step, wait.thread, wait.op)
    assert copy.start_ns is not None and copy.call is not None and wait.start_ns is not None
    assert kernel.end_ns <= copy.start_ns and copy.call.end_ns == wait.start_ns
    assert (copy.blocking, copy.bytes, wait.explicit) == (True, 4, False)


def test_a_read_that_a_guard_forbids_was_copied_and_is_no_wait(device: VirtualDevice, recorder: Recorder) -> None:
    def forbid(wait: object) -> None:
        raise SystemError("no")

    x = torch.ones(3, device="cuda")
    block = ACTIVE_GUARDS.enter(forbid)
    try:
        with pytest.raises(SystemError):
            x.sum().item()
    finally:
        ACTIVE_GUARDS.leave(block)
    assert (len(recorder.copies), len(waits_of(recorder))) == (1, 0)


def test_both_ways_of_recording_a_read_say_the_same(device: VirtualDevice) -> None:
    def told(wait: object) -> None:
        """Let every wait happen, as a guard that forbids nothing."""

    seen = []
    for listener in (None, told):
        recorder = Recorder(now_ns=device.now_ns)
        device.record_into(recorder)
        x = torch.ones(3, device="cuda")
        # The first read takes page-locked memory from the driver, and is not compared.
        x.sum().item()
        device.record_into(recorder := Recorder(now_ns=device.now_ns))
        block = ACTIVE_GUARDS.enter(listener)
        start = device.now_ns()
        x.sum().item()
        ACTIVE_GUARDS.leave(block)
        device.record_into(None)
        (copy,), (wait,) = recorder.copies, waits_of(recorder)
        assert None not in (copy.start_ns, copy.end_ns, copy.call, wait.start_ns, wait.end_ns)
        call: Any = copy.call or SimpleNamespace()
        moments = (copy.start_ns, copy.end_ns, call.start_ns, call.end_ns, wait.start_ns, wait.end_ns)
        seen.append(
            ([each - start for each in moments if each is not None], copy.memory, copy.op, wait.kind, wait.stream)
        )
    assert seen[0] == seen[1]
