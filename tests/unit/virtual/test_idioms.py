"""The idioms that people write make the calls on the virtual device that they make on a GPU.

The figures are those measured on an H200 with torch 2.11: synchronizations, reads and uploads of one call. `SINCE` has
those that a later torch does otherwise by its sources (`benchmarks/torch_changes.py` names them).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from syncwatch.compat.tried import numbers
from syncwatch.model.events import Direction, SyncKind
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice
from tests.helpers.waits import waits_of

Call = Callable[[Any], object]


class Tensors:
    """What the specimens work on, made anew for each."""

    def __init__(self) -> None:
        self.x = torch.linspace(-1, 1, 64, device="cuda")
        self.m = torch.ones(16, 16, device="cuda") + 16 * torch.eye(16, device="cuda")
        self.mask = torch.arange(64, device="cuda") % 3 == 0
        self.ints = torch.arange(1, 5, device="cuda")
        self.one = torch.full((), 3, device="cuda")
        self.host = torch.linspace(-1, 1, 64)
        self.pinned = torch.linspace(-1, 1, 64).pin_memory()
        self.gapped = torch.zeros(64, 2).pin_memory()[:, 0]
        self.host_mask = torch.arange(64) % 3 == 0


# name, call, synchronizations, reads, uploads
SPECIMENS: list[tuple[str, Call, int, int, int]] = [
    ("item", lambda t: t.x[0].item(), 1, 1, 0),
    ("float", lambda t: float(t.x[0]), 1, 1, 0),
    ("bool", lambda t: bool(t.mask.any()), 1, 1, 0),
    ("if", lambda t: 1 if t.x.sum() > 0 else 0, 1, 1, 0),
    ("tolist", lambda t: t.x.tolist(), 1, 1, 0),
    ("tolist of nothing", lambda t: t.x[:0].tolist(), 0, 0, 0),
    ("iteration", lambda t: list(t.x), 0, 0, 0),
    ("range", lambda t: range(t.one), 1, 1, 0),
    ("in", lambda t: 3 in t.ints, 1, 1, 0),
    ("max of a list", lambda t: max(t.ints), 3, 3, 0),
    ("format", lambda t: f"{t.x[0]:.2f}", 1, 1, 0),
    ("print", lambda t: str(t.ints), 5, 5, 0),
    ("equal", lambda t: torch.equal(t.x, t.x.clone()), 1, 1, 0),
    ("allclose", lambda t: torch.allclose(t.x, t.x.clone()), 1, 1, 0),
    ("argmax", lambda t: t.x.argmax(), 0, 0, 0),
    ("async assert", lambda t: torch._assert_async(t.mask.any()), 0, 0, 0),
    ("cpu", lambda t: t.x.cpu(), 1, 1, 0),
    ("cpu without blocking", lambda t: t.x.to("cpu", non_blocking=True), 0, 1, 0),
    ("cpu and half", lambda t: t.x.to("cpu", torch.half), 1, 1, 0),
    ("cpu of gapped", lambda t: t.x[::2].cpu(), 1, 1, 0),
    ("cuda of cuda", lambda t: t.x.cuda(), 0, 0, 0),
    ("to type", lambda t: t.x.half(), 0, 0, 0),
    ("pageable to cuda", lambda t: t.host.to("cuda"), 1, 0, 1),
    ("pageable without blocking", lambda t: t.host.to("cuda", non_blocking=True), 0, 0, 1),
    ("pinned to cuda", lambda t: t.pinned.to("cuda"), 1, 0, 1),
    ("pinned without blocking", lambda t: t.pinned.to("cuda", non_blocking=True), 0, 0, 1),
    ("nothing to cuda", lambda t: torch.empty(0).to("cuda"), 0, 0, 0),
    ("scalar to cuda", lambda t: torch.tensor(3.0).to("cuda"), 1, 0, 1),
    ("host scalar times cuda", lambda t: torch.tensor(3.0) * t.x, 0, 0, 0),
    ("copy_ from pageable", lambda t: t.x.copy_(t.host), 1, 0, 1),
    ("copy_ to pageable", lambda t: t.host.copy_(t.x), 1, 1, 0),
    ("copy_ to pageable without blocking", lambda t: t.host.copy_(t.x, non_blocking=True), 1, 1, 0),
    ("copy_ to pinned without blocking", lambda t: t.pinned.copy_(t.x, non_blocking=True), 0, 1, 0),
    ("copy_ to gapped pinned without blocking", lambda t: t.gapped.copy_(t.x, non_blocking=True), 1, 1, 0),
    ("slice of host", lambda t: t.host.__setitem__(slice(0, 8), t.x[:8]), 1, 1, 0),
    ("module to cuda", lambda t: torch.nn.Linear(4, 4).to("cuda"), 2, 0, 2),
    ("tensor of list", lambda t: torch.tensor([1, 2, 3], device="cuda"), 1, 0, 1),
    ("tensor of nothing", lambda t: torch.tensor([], device="cuda"), 0, 0, 0),
    ("tensor of tensors", lambda t: torch.tensor([t.x[0], t.x[1]]), 2, 2, 0),
    ("new_tensor", lambda t: t.ints.new_tensor([0]), 1, 0, 1),
    ("as_tensor of numpy", lambda t: torch.as_tensor(t.host.numpy(), device="cuda"), 1, 0, 1),
    ("full", lambda t: torch.full((8,), 3.0, device="cuda"), 0, 0, 0),
    ("full of a tensor", lambda t: torch.full((8,), t.one, device="cuda"), 1, 1, 0),
    ("arange to a tensor", lambda t: torch.arange(t.one, device="cuda"), 1, 1, 0),
    ("linspace of tensors", lambda t: torch.linspace(t.x[0], t.x[1], 4, device="cuda"), 2, 2, 0),
    ("x[mask]", lambda t: t.x[t.mask], 1, 1, 0),
    ("x[host mask]", lambda t: t.x[t.host_mask], 0, 0, 1),
    ("x[ints]", lambda t: t.x[t.ints], 0, 0, 0),
    ("x[host ints]", lambda t: t.x[torch.tensor([0, 3])], 1, 0, 1),
    ("x[list]", lambda t: t.x[[0, 3, 5]], 1, 0, 1),
    ("x[bool list]", lambda t: t.x[[True, False] * 32], 2, 1, 1),
    ("x[0]", lambda t: t.x[0], 0, 0, 0),
    ("x[scalar]", lambda t: t.x[t.one], 1, 1, 0),
    ("x[:scalar]", lambda t: t.x[: t.one], 1, 1, 0),
    ("x[mask] = 1", lambda t: t.x.__setitem__(t.mask, 1.0), 0, 0, 0),
    ("x[mask] = tensor", lambda t: t.x.__setitem__(t.mask, t.x[:22].clone()), 1, 1, 0),
    ("x[host mask] = 1", lambda t: t.x.__setitem__(t.host_mask, 1.0), 1, 0, 2),
    ("x[ints] = 1", lambda t: t.x.__setitem__(t.ints, 1.0), 1, 0, 1),
    ("x[0] = 1", lambda t: t.x.__setitem__(0, 1.0), 1, 0, 1),
    ("x[:4] = 1", lambda t: t.x.__setitem__(slice(0, 4), 1.0), 0, 0, 0),
    ("masked_fill", lambda t: t.x.masked_fill(t.mask, 0.0), 0, 0, 0),
    ("masked_fill of a tensor", lambda t: t.x.masked_fill(t.mask, t.x[0]), 1, 1, 0),
    ("where", lambda t: torch.where(t.mask, t.x, 0.0), 0, 0, 0),
    ("nonzero", lambda t: t.mask.nonzero(), 1, 1, 0),
    ("nonzero_static", lambda t: torch.nonzero_static(t.mask, size=22), 0, 0, 0),
    ("masked_select", lambda t: t.x.masked_select(t.mask), 1, 1, 0),
    ("unique", lambda t: t.ints.unique(), 1, 1, 0),
    ("repeat_interleave", lambda t: t.ints.repeat_interleave(t.ints), 2, 2, 0),
    ("repeat_interleave with a size", lambda t: t.ints.repeat_interleave(t.ints, output_size=10), 0, 0, 0),
    ("one_hot", lambda t: F.one_hot(t.ints), 1, 1, 0),
    ("one_hot with classes", lambda t: F.one_hot(t.ints, 8), 0, 0, 0),
    ("bincount", lambda t: t.ints.bincount(), 2, 2, 0),
    ("quantile", lambda t: t.x.quantile(torch.full((), 0.5, device="cuda")), 0, 0, 0),
    ("cumsum out", lambda t: torch.cumsum(t.ints, 0, out=torch.empty_like(t.ints)), 0, 0, 0),
    ("sort", lambda t: t.x.sort(stable=True), 0, 0, 0),
    ("inv", lambda t: torch.linalg.inv(t.m), 1, 1, 0),
    ("inv_ex", lambda t: torch.linalg.inv_ex(t.m), 0, 0, 0),
    ("svd", lambda t: torch.linalg.svd(t.m), 2, 2, 0),
    ("normal of tensors", lambda t: torch.normal(t.x, t.x.abs()), 2, 2, 0),
    ("dropout", lambda t: F.dropout(t.x, 0.5), 0, 0, 0),
    ("histc", lambda t: t.x.histc(), 2, 2, 0),
    ("ctc_loss with host lengths", lambda t: _ctc(t), 6, 2, 4),
    ("clip_grad_norm_", lambda t: _clipped(t), 0, 0, 0),
    ("backward through a mask", lambda t: t.x.requires_grad_()[t.mask].sum().backward(), 2, 2, 0),
    ("scaled step", lambda t: _scaled(t), 1, 1, 0),
]


# name: from which torch on, synchronizations, reads, uploads
SINCE: dict[str, tuple[tuple[int, int], tuple[int, ...]]] = {
    "x[host mask] = 1": ((2, 15), (0, 0, 1)),
    "x[ints] = 1": ((2, 15), (0, 0, 0)),
    "x[0] = 1": ((2, 15), (0, 0, 0)),
}


def _figures_here(name: str, *measured: int) -> tuple[int, ...]:
    since, figures = SINCE.get(name, ((99, 0), measured))
    return figures if (numbers(torch.__version__) or (0, 0)) >= since else measured


def _ctc(tensors: Any) -> None:
    targets = torch.ones(1, 4, dtype=torch.long, device="cuda")
    F.ctc_loss(tensors.m.view(16, 1, 16).log_softmax(-1), targets, torch.tensor([16]), torch.tensor([4]))


def _clipped(tensors: Any) -> None:
    weight = torch.nn.Parameter(tensors.m)
    weight.grad = tensors.m.clone()
    torch.nn.utils.clip_grad_norm_([weight], 1.0)


def _scaled(tensors: Tensors) -> None:
    weight = torch.nn.Parameter(tensors.m)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scaler = torch.amp.GradScaler("cuda")
    loss: Any = scaler.scale(weight.sum())
    loss.backward()
    scaler.step(optimizer)
    scaler.update()


pytestmark = pytest.mark.usefixtures("module_device")


@pytest.mark.parametrize(
    ("call", "figures"),
    [(call, _figures_here(name, *measured)) for name, call, *measured in SPECIMENS],
    ids=[each[0] for each in SPECIMENS],
)
def test_an_idiom_makes_the_calls_that_a_gpu_would(
    device: VirtualDevice, call: Call, figures: tuple[int, int, int]
) -> None:
    tensors = Tensors()
    recorder = Recorder(now_ns=device.now_ns)
    device.record_into(recorder)

    call(tensors)

    device.record_into(None)
    directions = [copy.direction for copy in recorder.copies]
    found = len(waits_of(recorder)), directions.count(Direction.D2H), directions.count(Direction.H2D)
    assert found == figures


@pytest.mark.parametrize("target", ["host", "gapped"])
def test_a_read_that_holds_the_host_by_itself_is_a_copy(device: VirtualDevice, target: str) -> None:
    tensors = Tensors()
    recorder = Recorder(now_ns=device.now_ns)
    device.record_into(recorder)

    getattr(tensors, target).copy_(tensors.x, non_blocking=True)

    device.record_into(None)
    assert [sync.kind for sync in waits_of(recorder)] == [SyncKind.COPY]
