"""Lines are replayed without their waits; what cannot be replayed says so, and nothing stays wrapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import torch

from syncwatch.bench.scenario import Workload
from syncwatch.bench.what_if import WhatIf
from syncwatch.model.session import Line, Replay
from syncwatch.sense.virtual.device import VirtualDevice

STEPS = 3
HERE = "tests/unit/bench/test_what_if.py"


class Reads:
    """A workload that waits in many ways; each method has one waiting line."""

    parameters: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.x = torch.arange(12.0, device="cuda").reshape(3, 4)
        self.counts = torch.tensor([1, 0, 2]).pin_memory().to("cuda", non_blocking=True)
        self.carried = torch.zeros(1, device="cuda")

    def step(self, variant: str, index: int) -> torch.Tensor:
        result: torch.Tensor = getattr(self, variant)(index)
        return result

    def item(self, index: int) -> torch.Tensor:
        return self.x * float(self.x[1, 1].item())

    def truth(self, index: int) -> torch.Tensor:
        return self.x + 1 if (self.x > 3).any() else self.x

    def tolist(self, index: int) -> torch.Tensor:
        return self.x + float(sum(self.counts.tolist()))

    def cpu(self, index: int) -> torch.Tensor:
        found: torch.Tensor = self.x + int(self.counts.cpu().add_(1).sum())
        return found

    def mask(self, index: int) -> torch.Tensor:
        return self.x[self.x > 3] + index

    def mask_store(self, index: int) -> torch.Tensor:
        y = self.x.clone()
        y[y > 3] = torch.ones(8, device="cuda")
        return y

    def nonzero(self, index: int) -> torch.Tensor:
        return torch.nonzero(self.x > 3) + index

    def repeat(self, index: int) -> torch.Tensor:
        return torch.repeat_interleave(self.x, self.counts, dim=0) + index

    def select(self, index: int) -> torch.Tensor:
        return torch.masked_select(self.x, self.x > 3) + index

    def upload(self, index: int) -> torch.Tensor:
        return self.x + torch.tensor([1.0, 2.0, 3.0, index], device="cuda")

    def list_index(self, index: int) -> torch.Tensor:
        return self.x[[0, 2]] + index

    def bound(self, index: int) -> torch.Tensor:
        return self.x[: self.counts[2]] + index

    def wait(self, index: int) -> torch.Tensor:
        torch.cuda.synchronize()
        return self.x + index

    def unique(self, index: int) -> torch.Tensor:
        found: torch.Tensor = torch.unique(self.x)
        return found + index

    def feeding(self, index: int) -> torch.Tensor:
        self.carried += 1
        return self.x + self.carried.item()


def line_of(method: str) -> Line:
    function = getattr(Reads, method)
    first = function.__code__.co_firstlineno
    offset = {"mask_store": 2, "feeding": 2, "unique": 1}.get(method, 1)
    return Line(HERE, first + offset)


@pytest.fixture()
def device() -> Iterator[VirtualDevice]:
    virtual = VirtualDevice()
    virtual.start()
    yield virtual
    virtual.stop()


def asked(device: VirtualDevice, method: str) -> tuple[Replay, Replay]:
    workload = Reads()
    question = WhatIf(workload, method, [line_of(method)], STEPS)
    question.prepare()

    def times(taped: Workload, variant: str) -> list[int]:
        found = []
        for index in range(STEPS):
            start = device.now_ns()
            taped.step(variant, index)
            found.append(device.now_ns() - start)
        return found

    plain = Replay((), (tuple(times(workload, method)),))
    for lane in question.lanes(times):
        lane()
    (replay,) = question.replays()
    return plain, replay


WAYS = [
    "item",
    "truth",
    "tolist",
    "cpu",
    "mask",
    "mask_store",
    "nonzero",
    "repeat",
    "select",
    "upload",
    "list_index",
    "bound",
    "wait",
]


@pytest.mark.parametrize("method", WAYS)
def test_a_waiting_line_is_replayed_without_its_wait(device: VirtualDevice, method: str) -> None:
    plain, replay = asked(device, method)

    assert replay.refused is None
    assert replay.lines == (line_of(method),)
    assert sum(replay.rounds_ns[0]) < sum(plain.rounds_ns[0])


def test_what_cannot_be_replayed_from_outside_says_so(device: VirtualDevice) -> None:
    _, replay = asked(device, "unique")

    assert replay.refused is not None and "cannot be replayed from outside" in replay.refused
    assert replay.rounds_ns == ()


def test_a_value_that_feeds_back_is_refused(device: VirtualDevice) -> None:
    _, replay = asked(device, "feeding")

    assert replay.refused is not None and "feeds back" in replay.refused


def test_nothing_stays_wrapped(device: VirtualDevice) -> None:
    before = {name: getattr(torch.Tensor, name) for name in ("item", "cpu", "__getitem__", "__bool__", "to")}

    asked(device, "item")

    assert {name: getattr(torch.Tensor, name) for name in before} == before


def test_all_lines_together_leave_out_what_cannot_be_replayed(device: VirtualDevice) -> None:
    class Mixed(Reads):
        def step(self, variant: str, index: int) -> torch.Tensor:
            return self.item(index) + self.mask(index).sum() + self.unique(index).sum()

    lines = [line_of("item"), line_of("mask"), line_of("unique")]
    question = WhatIf(Mixed(), "all", lines, STEPS)
    question.prepare()

    item, mask, unique, together = question.replays()
    assert (item.refused, mask.refused, together.refused) == (None, None, None)
    assert unique.refused is not None
    assert together.lines == (line_of("item"), line_of("mask"))


def test_tensors_are_no_sequences_while_indexing_is_wrapped_nor_after(device: VirtualDevice) -> None:
    class Stacks(Reads):
        def mask(self, index: int) -> torch.Tensor:
            return self.x[self.x > 3] + torch.tensor([self.x[0, 0], self.x[0, 1]], device="cuda").sum()

    question = WhatIf(Stacks(), "mask", [Line(HERE, Stacks.mask.__code__.co_firstlineno + 1)], STEPS)
    question.prepare()

    assert question.replays()[0].refused is None
    assert torch.tensor([torch.ones(()), torch.zeros(())]).tolist() == [1.0, 0.0]
    assert torch.arange(3.0)[1] == 1.0
