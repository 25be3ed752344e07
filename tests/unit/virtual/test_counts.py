"""Waits of operators that are rarely thought of: as many as on an H200, or none where an H200 does not wait.

The figures were measured on an H200 with torch 2.11, or read from CUDA's sources where a comment says so.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice
from tests.helpers.waits import waits_of

Call = Callable[[], Any]
cuda: Any = torch.cuda


pytestmark = pytest.mark.usefixtures("module_device")


def count(device: VirtualDevice, call: Callable[[], object]) -> int:
    """Return how often the host waits in `call`."""
    recorder = Recorder(now_ns=device.now_ns)
    device.record_into(recorder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call()
    device.record_into(None)
    return len(waits_of(recorder))


def host(value: float) -> Any:
    """Return a number on the host, as a tensor."""
    return torch.tensor(value)


def coo(coalesced: bool = False) -> Any:
    made = torch.sparse_coo_tensor(torch.tensor([[0, 1, 1], [2, 0, 0]]), torch.tensor([1.0, 2.0, 3.0]), (3, 3))
    return (made.coalesce() if coalesced else made).cuda()


def jagged(with_lengths: bool = False) -> Any:
    values, offsets = torch.randn(5, 4, device="cuda"), torch.tensor([0, 2, 5], device="cuda")
    lengths = torch.tensor([1, 2], device="cuda") if with_lengths else None
    return torch.nested.nested_tensor_from_jagged(values, offsets, lengths)


def sorter() -> Call:
    x, order = torch.linspace(0, 1, 8, device="cuda"), torch.arange(8, device="cuda")
    return lambda: torch.searchsorted(x, x, sorter=order)


def without_size() -> Call:
    indices, values = torch.tensor([[0, 1], [1, 0]], device="cuda"), torch.ones(2, device="cuda")
    return lambda: torch.sparse_coo_tensor(indices, values)


def with_size() -> Call:
    indices, values = torch.tensor([[0, 1], [1, 0]], device="cuda"), torch.ones(2, device="cuda")
    # torch checks the invariants of a sparse tensor, which would read values, only where that is asked for.
    return lambda: torch.sparse_coo_tensor(indices, values, (2, 2))


def product(coalesced: bool) -> Call:
    left, right = coo(coalesced), torch.ones(3, 3, device="cuda")
    return lambda: torch.sparse.mm(left, right)


def long_mode() -> Call:
    x = torch.zeros(5000, device="cuda")
    return lambda: x.mode()


def of_scalars() -> Call:
    x, y = torch.tensor(1, device="cuda"), torch.tensor(2, device="cuda")
    return lambda: torch.LongTensor([x, y])


def left_aligned() -> Call:
    x, mask = torch.ones(2, 3, 4, device="cuda"), torch.ones(2, 3, dtype=torch.bool, device="cuda")
    return lambda: torch._nested_tensor_from_mask_left_aligned(x, mask)


def unbound(with_lengths: bool) -> Call:
    nested = jagged(with_lengths)
    return lambda: nested.unbind()


def padded() -> Call:
    nested = torch.nested.nested_tensor([torch.ones(2, 4), torch.ones(3, 4)]).cuda()
    return lambda: nested.to_padded_tensor(0.0)


def unpickled() -> Call:
    data = pickle.dumps(torch.ones(4, device="cuda"))
    return lambda: pickle.loads(data)


def sparse_softmax() -> Call:
    tensor = coo(True)
    return lambda: torch.sparse.softmax(tensor, 1)


def two_paths(name: str) -> Call:
    """Return the backward of a product with an element that is zero, which torch looks for."""
    x = torch.linspace(0, 1, 8, device="cuda").requires_grad_()
    y = x.prod() if name == "prod" else x.cumprod(0).sum()
    return lambda: y.backward()


def compressed(coalesced: bool) -> Call:
    tensor = coo(coalesced)
    return lambda: tensor.to_sparse_csr()


def masked_backward() -> Call:
    x = torch.ones(8, device="cuda", requires_grad=True)
    mask = torch.arange(8, device="cuda") % 2 == 0

    def write() -> None:
        y = x * 2
        y[mask] = 0.0
        y.sum().backward()

    return write


def shown() -> Call:
    tensor = coo(True)
    return lambda: repr(tensor)


WAITS: dict[str, tuple[Callable[[], Call], int]] = {
    "searchsorted with a sorter": (sorter, 2),
    "a sparse tensor without a size": (without_size, 2),
    "a sparse tensor with a size": (with_size, 0),
    "a product with a sparse matrix": (lambda: product(False), 5),
    "a product with a coalesced matrix": (lambda: product(True), 0),
    "mode of a long slice": (long_mode, 13),
    "LongTensor of scalars": (of_scalars, 2),
    "a nested tensor of a mask": (left_aligned, 1),
    # torch's own Python reads the offsets, or the lengths and the offsets.
    "unbind of a jagged tensor": (lambda: unbound(False), 1),
    "unbind of a jagged tensor with holes": (lambda: unbound(True), 2),
    "a nested tensor is padded": (padded, 1),
    "softmax of a sparse matrix": (sparse_softmax, 7),
    # The storage is made on the device, and its bytes are copied there once more.
    "pickle.loads": (unpickled, 2),
    "to csr": (lambda: compressed(False), 5),
    "to csr of a coalesced matrix": (lambda: compressed(True), 0),
    "backward of x[mask] = 0": (masked_backward, 0),
}


@pytest.mark.parametrize("name", WAITS)
def test_the_host_waits_as_often_as_on_a_gpu(device: VirtualDevice, name: str) -> None:
    prepare, expected = WAITS[name]

    assert count(device, prepare()) == expected


@pytest.mark.parametrize("name", ["prod", "cumprod"])
def test_a_product_looks_for_zeros_on_its_way_back(device: VirtualDevice, name: str) -> None:
    assert count(device, two_paths(name)) > 0


def test_showing_a_sparse_tensor_waits_for_each_number(device: VirtualDevice) -> None:
    assert count(device, shown()) > 10


# A number of the host, as a tensor, is known there: nothing has to be read.
FACTORIES: dict[str, Call] = {
    "full of a host scalar": lambda: torch.full((2,), host(3.0), device="cuda"),
    "zeros of a host size": lambda: torch.zeros(host(3), device="cuda"),
    "arange to a host scalar": lambda: torch.arange(host(3), device="cuda"),
    "linspace of host scalars": lambda: torch.linspace(host(0.0), host(1.0), 4, device="cuda"),
    "full_like of a host scalar": lambda: torch.full_like(torch.zeros(3, device="cuda"), host(3.0)),
    "eye of a host size": lambda: torch.eye(host(3), device="cuda"),
    "randint to a host scalar": lambda: torch.randint(host(3), (2,), device="cuda"),
    "fill_ with a host scalar": lambda: torch.zeros(3, device="cuda").fill_(host(3.0)),
    "slice by a host scalar": lambda: torch.zeros(3, device="cuda")[: host(2)],
    "add of a host scalar": lambda: torch.zeros(3, device="cuda") + host(2.0),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_a_number_of_the_host_is_not_waited_for(device: VirtualDevice, name: str) -> None:
    assert count(device, FACTORIES[name]) == 0


def test_filling_a_tensor_of_the_host_from_the_device_reads_one_number(device: VirtualDevice) -> None:
    host, value = torch.zeros(3), torch.tensor(2.0, device="cuda")

    assert count(device, lambda: host.fill_(value)) == 1
    assert host.tolist() == [2.0] * 3


def test_the_fast_path_of_an_encoder_looks_at_its_padding_mask(device: VirtualDevice) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(2, 4, 8)
    padding = torch.tensor([[False] * 4, [False] * 2 + [True] * 2])
    with torch.no_grad():
        wanted = encoder(x, src_key_padding_mask=padding)
    encoder.cuda()
    there, mask = x.cuda(), padding.cuda()
    found: list[torch.Tensor] = []

    with torch.no_grad():
        waits = count(device, lambda: found.append(encoder(there, src_key_padding_mask=mask)))

    assert waits > 0
    torch.testing.assert_close(found[0].cpu(), wanted)


def test_an_encoder_that_trains_takes_the_plain_path(device: VirtualDevice) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).cuda()
    x = torch.randn(2, 4, 8, device="cuda")
    mask = torch.tensor([[False] * 4, [False] * 2 + [True] * 2]).cuda()

    assert count(device, lambda: encoder(x, src_key_padding_mask=mask).sum().backward()) == 0


def test_a_whole_step_of_training_does_not_wait(device: VirtualDevice) -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 4)).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    x, y = torch.randn(4, 8, device="cuda"), torch.tensor([0, 1, 2, 3], device="cuda")

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    step()
    assert count(device, step) == 0
