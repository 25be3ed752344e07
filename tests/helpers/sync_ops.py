"""A table of idioms that may wait, as people write them; every sensor is tested on it.

A specimen is a name, a family, its inputs, and a call. The inputs are made anew for each call, outside of what is
measured. Which specimens wait is not written here: it is measured on a GPU (`benchmarks/sync_ops.py`) and kept in
`tests/data/sync_ops_h200.json`.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

Input = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Specimen:
    """One idiom."""

    name: str
    family: str
    inputs: tuple[Input, ...]
    call: Callable[..., object]


SPECIMENS: dict[str, Specimen] = {}


def _add(family: str, name: str, call: Callable[..., object], *inputs: Input) -> None:
    if name in SPECIMENS:
        raise ValueError(f"two specimens are called {name!r}")
    SPECIMENS[name] = Specimen(name, family, inputs, call)


def vec() -> torch.Tensor:
    return torch.linspace(-1, 1, 64, device="cuda")


def mat() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(16, 16, generator=generator).to("cuda")


def spd() -> torch.Tensor:
    return mat() @ mat().mT + 16 * torch.eye(16, device="cuda")


def ints() -> torch.Tensor:
    return torch.arange(8, device="cuda")


def counts() -> torch.Tensor:
    return torch.arange(1, 5, device="cuda")


def scalar() -> torch.Tensor:
    return torch.full((), 3, device="cuda")


def mask() -> torch.Tensor:
    return torch.arange(64, device="cuda") % 3 == 0


def mask2() -> torch.Tensor:
    return (torch.arange(256, device="cuda") % 3 == 0).view(16, 16)


def host() -> torch.Tensor:
    return torch.linspace(-1, 1, 64)


def host_mask() -> torch.Tensor:
    return torch.arange(64) % 3 == 0


def host_ints() -> torch.Tensor:
    return torch.tensor([0, 3, 5])


def pinned() -> torch.Tensor:
    return torch.linspace(-1, 1, 64).pin_memory()


def pinned_mask() -> torch.Tensor:
    return host_mask().pin_memory()


def big() -> torch.Tensor:
    return torch.zeros(1 << 20, device="cuda")


def big_host() -> torch.Tensor:
    return torch.zeros(1 << 20)


def big_pinned() -> torch.Tensor:
    return torch.zeros(1 << 20).pin_memory()


def gapped_pinned() -> torch.Tensor:
    return torch.zeros(1 << 10, 64).pin_memory()[:, ::2]


def transposed_pinned() -> torch.Tensor:
    return torch.zeros(64, 32).pin_memory().t()


def like_gapped() -> torch.Tensor:
    return torch.zeros(1 << 10, 32, device="cuda")


def like_transposed() -> torch.Tensor:
    return torch.zeros(32, 64, device="cuda")


def leaf() -> torch.Tensor:
    return vec().requires_grad_()


def linear() -> torch.nn.Linear:
    return torch.nn.Linear(16, 16, device="cuda")


def host_linear() -> torch.nn.Linear:
    return torch.nn.Linear(16, 16)


def event() -> torch.cuda.Event:
    recorded = torch.cuda.Event(enable_timing=True)
    recorded.record()
    return recorded


def stream() -> torch.cuda.Stream:
    return torch.cuda.Stream()


def empty() -> torch.Tensor:
    return torch.empty(0, device="cuda")


def sparse() -> torch.Tensor:
    return torch.eye(8, device="cuda").to_sparse()


def labels() -> torch.Tensor:
    return torch.arange(16, device="cuda")


def ignored_labels() -> torch.Tensor:
    return torch.where(torch.arange(16, device="cuda") < 4, -100, torch.arange(16, device="cuda"))


def _backward(loss: torch.Tensor) -> torch.Tensor:
    torch.autograd.backward(loss)
    return loss


# Reading values back.
_add("read", "item", lambda x: x[0].item(), vec)
_add("read", "item of int", lambda x: x[0].item(), ints)
_add("read", "item of bool", lambda x: x.any().item(), mask)
_add("read", "float()", lambda x: float(x[0]), vec)
_add("read", "int()", lambda x: int(x[0]), ints)
_add("read", "bool()", lambda x: bool(x.any()), mask)
_add("read", "complex()", lambda x: complex(x[0]), vec)
_add("read", "if tensor", lambda x: 1 if x.sum() > 0 else 0, vec)
_add("read", "not tensor", lambda x: not x.any(), mask)
_add("read", "and", lambda x: x.any() and x.all(), mask)
_add("read", "while tensor", lambda x: [1 for _ in range(1) if x[0] < 9], ints)
_add("read", "assert tensor", lambda x: x.any() or None, mask)
_add("read", "tolist", lambda x: x.tolist(), vec)
_add("read", "tolist of scalar", lambda x: x.tolist(), scalar)
_add("read", "tolist of empty", lambda x: x.tolist(), empty)
_add("read", "list()", lambda x: list(x), ints)
_add("read", "list of items", lambda x: [int(each) for each in x], counts)
_add("read", "iteration", lambda x: [each for each in x], ints)  # noqa: C416  # as people write it
_add("read", "unpacking", lambda x: (lambda a, b, c, d: a)(*x), counts)
_add("read", "len", lambda x: len(x), vec)
_add("read", "numel and shape", lambda x: (x.numel(), x.shape, x.stride(), x.dtype, x.device), vec)
_add("read", "range(tensor)", lambda x: list(range(x)), scalar)
_add("read", "list[tensor]", lambda x: [0, 1, 2, 3][x], scalar)
_add("read", "in", lambda x: 3 in x, ints)
_add("read", "max()", lambda x: max(x), counts)
_add("read", "sum()", lambda x: sum(x), counts)
_add("read", "sorted()", lambda x: sorted(x), counts)
_add("read", "round()", lambda x: round(float(x[0])), vec)
_add("read", "format scalar", lambda x: f"{x[0]:.3f}", vec)
_add("read", "str", lambda x: str(x[:4]), vec)
_add("read", "repr of ints", lambda x: repr(x), counts)
_add("read", "str of bools", lambda x: str(x[:4]), mask)
_add("read", "str of empty", lambda x: str(x), empty)
_add("read", "str of scalar", lambda x: str(x), scalar)
_add("read", "hash and id", lambda x: (hash(x), id(x)), vec)
_add("read", "data_ptr", lambda x: x.data_ptr(), vec)
_add("read", "equal", lambda x: torch.equal(x, x.clone()), vec)
_add("read", "equal, other shape", lambda x: torch.equal(x, x[:3]), vec)
_add("read", "allclose", lambda x: torch.allclose(x, x.clone()), vec)
_add("read", "isclose", lambda x: torch.isclose(x, x.clone()), vec)
_add("read", "is_nonzero", lambda x: torch.is_nonzero(x), scalar)
_add("read", "assert_close", lambda x: torch.testing.assert_close(x, x.clone()), vec)
_add("read", "min, max, mean", lambda x: (x.min(), x.max(), x.mean()), vec)
_add("read", "argmax", lambda x: x.argmax(-1), mat)
_add("read", "argmax item", lambda x: x.argmax().item(), vec)
_add("read", "isnan any", lambda x: torch.isnan(x).any(), vec)
_add("read", "isnan any, branched", lambda x: 1 if torch.isnan(x).any() else 0, vec)
_add("read", "async assert", lambda x: torch._assert_async(x.any()), mask)

# Copies between host and device.
_add("copy", "cpu()", lambda x: x.cpu(), vec)
_add("copy", "to cpu", lambda x: x.to("cpu"), vec)
_add("copy", "to cpu, big", lambda x: x.to("cpu"), big)
_add("copy", "to cpu, non_blocking", lambda x: x.to("cpu", non_blocking=True), vec)
_add("copy", "to cpu, non_blocking, big", lambda x: x.to("cpu", non_blocking=True), big)
_add("copy", "to cpu and half", lambda x: x.to("cpu", torch.half), vec)
_add("copy", "to cpu of empty", lambda x: x.to("cpu"), empty)
_add("copy", "to cpu of gapped", lambda x: x[::2].to("cpu"), vec)
_add("copy", "to cpu of transposed", lambda x: x.t().to("cpu"), mat)
_add("copy", "cpu().numpy()", lambda x: x.cpu().numpy(), vec)
_add("copy", "detach cpu", lambda x: x.detach().cpu(), leaf)
_add("copy", "to cuda of cuda", lambda x: x.to("cuda"), vec)
_add("copy", "cuda() of cuda", lambda x: x.cuda(), vec)
_add("copy", "cpu() of cpu", lambda x: x.cpu(), host)
_add("copy", "to dtype", lambda x: x.to(torch.half), vec)
_add("copy", "half()", lambda x: x.half(), vec)
_add("copy", "type()", lambda x: x.type(torch.int64), vec)
_add("copy", "type(cuda string)", lambda x: x.type("torch.cuda.HalfTensor"), vec)
_add("copy", "clone", lambda x: x.clone(), vec)
_add("copy", "contiguous of transposed", lambda x: x.t().contiguous(), mat)
_add("copy", "pageable to cuda", lambda x: x.to("cuda"), host)
_add("copy", "pageable cuda()", lambda x: x.cuda(), host)
_add("copy", "pageable to cuda, big", lambda x: x.to("cuda"), big_host)
_add("copy", "pageable to cuda, non_blocking", lambda x: x.to("cuda", non_blocking=True), host)
_add("copy", "pageable to cuda, non_blocking, big", lambda x: x.to("cuda", non_blocking=True), big_host)
_add("copy", "pageable cuda(), non_blocking", lambda x: x.cuda(non_blocking=True), host)
_add("copy", "pageable to cuda and half", lambda x: x.to("cuda", torch.half), host)
_add("copy", "pinned to cuda", lambda x: x.to("cuda"), pinned)
_add("copy", "pinned to cuda, non_blocking", lambda x: x.to("cuda", non_blocking=True), pinned)
_add("copy", "pinned to cuda, non_blocking, big", lambda x: x.to("cuda", non_blocking=True), big_pinned)
_add("copy", "pinned to cuda and half, non_blocking", lambda x: x.to("cuda", torch.half, non_blocking=True), pinned)
_add("copy", "pinned slice to cuda, non_blocking", lambda x: x[8:16].to("cuda", non_blocking=True), pinned)
_add("copy", "pinned gapped to cuda, non_blocking", lambda x: x.to("cuda", non_blocking=True), gapped_pinned)
_add("copy", "pinned transposed to cuda, non_blocking", lambda x: x.to("cuda", non_blocking=True), transposed_pinned)
_add("copy", "empty to cuda", lambda: torch.empty(0).to("cuda"))
_add("copy", "host scalar to cuda", lambda: torch.tensor(3.0).to("cuda"))
_add("copy", "host scalar times cuda", lambda x: torch.tensor(3.0) * x, vec)
_add("copy", "python scalar times cuda", lambda x: 3.0 * x, vec)
_add("copy", "copy_ from pageable", lambda x, y: x.copy_(y), vec, host)
_add("copy", "copy_ from pageable, non_blocking", lambda x, y: x.copy_(y, non_blocking=True), vec, host)
_add("copy", "copy_ from pinned", lambda x, y: x.copy_(y), vec, pinned)
_add("copy", "copy_ from pinned, non_blocking", lambda x, y: x.copy_(y, non_blocking=True), vec, pinned)
_add(
    "copy",
    "copy_ from gapped pinned, non_blocking",
    lambda x, y: x.copy_(y, non_blocking=True),
    like_gapped,
    gapped_pinned,
)
_add(
    "copy",
    "copy_ from transposed pinned, non_blocking",
    lambda x, y: x.copy_(y, non_blocking=True),
    like_transposed,
    transposed_pinned,
)
_add("copy", "copy_ to pageable", lambda x, y: y.copy_(x), vec, host)
_add("copy", "copy_ to pageable, non_blocking", lambda x, y: y.copy_(x, non_blocking=True), vec, host)
_add("copy", "copy_ to pageable, non_blocking, big", lambda x, y: y.copy_(x, non_blocking=True), big, big_host)
_add("copy", "copy_ to pinned", lambda x, y: y.copy_(x), vec, pinned)
_add("copy", "copy_ to pinned, non_blocking", lambda x, y: y.copy_(x, non_blocking=True), vec, pinned)
_add("copy", "copy_ to pinned, non_blocking, big", lambda x, y: y.copy_(x, non_blocking=True), big, big_pinned)
_add(
    "copy",
    "copy_ to gapped pinned, non_blocking",
    lambda x, y: y.copy_(x, non_blocking=True),
    like_gapped,
    gapped_pinned,
)
_add(
    "copy",
    "copy_ to transposed pinned, non_blocking",
    lambda x, y: y.copy_(x, non_blocking=True),
    like_transposed,
    transposed_pinned,
)
_add("copy", "copy_ to pinned from half, non_blocking", lambda x, y: y.copy_(x.half(), non_blocking=True), vec, pinned)
_add(
    "copy", "copy_ from pinned into half, non_blocking", lambda x, y: x.half().copy_(y, non_blocking=True), vec, pinned
)
_add("copy", "copy_ on the device", lambda x: x.copy_(x + 1), vec)
_add("copy", "assignment from pageable", lambda x, y: x.__setitem__(slice(None), y), vec, host)
_add("copy", "assignment from pinned", lambda x, y: x.__setitem__(slice(None), y), vec, pinned)
_add("copy", "assignment to a host slice", lambda x, y: y.__setitem__(slice(0, 8), x[:8]), vec, host)
_add("copy", "pin_memory()", lambda x: x.pin_memory(), host)
_add("copy", "module to cuda", lambda m: m.to("cuda"), host_linear)
_add("copy", "module to cpu", lambda m: m.to("cpu"), linear)
_add("copy", "state_dict", lambda m: m.state_dict(), linear)
_add("copy", "load_state_dict from host", lambda m, n: m.load_state_dict(n.state_dict()), linear, host_linear)
_add("copy", "pickle", lambda x: pickle.dumps(x), vec)
_add("copy", "torch.save", lambda x: torch.save(x, io.BytesIO()), vec)
_add("copy", "deepcopy", lambda x: copy.deepcopy(x), vec)
_add("copy", "deepcopy of a module", lambda m: copy.deepcopy(m), linear)

# Tensors from host data.
_add("make", "tensor(list, device)", lambda: torch.tensor([1, 2, 3], device="cuda"))
_add("make", "tensor(scalar, device)", lambda: torch.tensor(3.14, device="cuda"))
_add("make", "tensor(bool, device)", lambda: torch.tensor(True, device="cuda"))
_add("make", "tensor([], device)", lambda: torch.tensor([], device="cuda"))
_add("make", "tensor(list).to(cuda)", lambda: torch.tensor([1, 2, 3]).to("cuda"))
_add(
    "make",
    "tensor(list, pinned).to(cuda)",
    lambda: torch.tensor([1, 2, 3], pin_memory=True).to("cuda", non_blocking=True),
)
_add("make", "as_tensor(list, device)", lambda: torch.as_tensor([1, 2, 3], device="cuda"))
_add("make", "as_tensor(cuda)", lambda x: torch.as_tensor(x), vec)
_add("make", "as_tensor(numpy, device)", lambda x: torch.as_tensor(x.numpy(), device="cuda"), host)
_add("make", "from_numpy to cuda", lambda x: torch.from_numpy(x.numpy()).to("cuda"), host)
_add("make", "new_tensor(list)", lambda x: x.new_tensor([0.0, 1.0]), vec)
_add("make", "new_tensor([0])", lambda x: x.new_tensor([0]), ints)
_add("make", "new_zeros", lambda x: x.new_zeros(4), vec)
_add("make", "new_full", lambda x: x.new_full((4,), 2.0), vec)
_add("make", "zeros", lambda: torch.zeros(8, device="cuda"))
_add("make", "ones", lambda: torch.ones(8, device="cuda"))
_add("make", "full", lambda: torch.full((8,), 3.0, device="cuda"))
_add("make", "full of a tensor", lambda x: torch.full((8,), x, device="cuda"), scalar)
_add("make", "empty", lambda: torch.empty(8, device="cuda"))
_add("make", "arange", lambda: torch.arange(8, device="cuda"))
_add("make", "arange to a tensor", lambda x: torch.arange(x, device="cuda"), scalar)
_add("make", "linspace", lambda: torch.linspace(0, 1, 8, device="cuda"))
_add("make", "linspace between tensors", lambda x: torch.linspace(x[0], x[1], 8, device="cuda"), vec)
_add("make", "eye", lambda: torch.eye(8, device="cuda"))
_add("make", "scalar_tensor", lambda: torch.scalar_tensor(3.0, device="cuda"))
_add("make", "zeros_like", lambda x: torch.zeros_like(x), vec)
_add("make", "full_like", lambda x: torch.full_like(x, 2.0), vec)
_add("make", "tensor of tensors", lambda x: torch.tensor([x[0], x[1]]), counts)
_add("make", "stack of scalars", lambda x: torch.stack([x[0], x[1]]), counts)
_add("make", "cat with host scalar", lambda x: torch.cat([x, torch.zeros(1, device="cuda")]), vec)
_add("make", "tril_indices", lambda: torch.tril_indices(4, 4, device="cuda"))
_add("make", "hann_window", lambda: torch.hann_window(16, device="cuda"))
_add("make", "kaiser_window", lambda: torch.kaiser_window(16, device="cuda"))
_add("make", "cartesian_prod", lambda x: torch.cartesian_prod(x, x), counts)
_add("make", "combinations", lambda x: torch.combinations(x), counts)

# Indexing.
_add("index", "x[gpu mask]", lambda x, m: x[m], vec, mask)
_add("index", "x[~gpu mask]", lambda x, m: x[~m], vec, mask)
_add("index", "x[x > 0]", lambda x: x[x > 0], vec)
_add("index", "x[host mask]", lambda x, m: x[m], vec, host_mask)
_add("index", "x[pinned mask]", lambda x, m: x[m], vec, pinned_mask)
_add("index", "x[gpu ints]", lambda x, i: x[i], vec, ints)
_add("index", "x[host ints]", lambda x, i: x[i], vec, host_ints)
_add("index", "x[list]", lambda x: x[[0, 3, 5]], vec)
_add("index", "x[bool list]", lambda x: x[[True, False] * 32], vec)
_add("index", "x[range]", lambda x: x[range(3)], vec)
_add("index", "x[0]", lambda x: x[0], vec)
_add("index", "x[1:5]", lambda x: x[1:5], vec)
_add("index", "x[-1, :]", lambda x: x[-1, :], mat)
_add("index", "x[None, ...]", lambda x: x[None, ..., 0], mat)
_add("index", "x[gpu scalar]", lambda x, i: x[i], vec, scalar)
_add("index", "x[:gpu scalar]", lambda x, i: x[:i], vec, scalar)
_add("index", "x[gpu scalar:gpu scalar]", lambda x, i: x[i : i + 2], vec, scalar)
_add("index", "x[host scalar]", lambda x: x[torch.tensor(3)], vec)
_add("index", "x[:host scalar]", lambda x: x[: torch.tensor(3)], vec)
_add("index", "x[:, gpu ints]", lambda x, i: x[:, i], mat, ints)
_add("index", "x[:, list]", lambda x: x[:, [0, 2]], mat)
_add("index", "x[ints, ints]", lambda x, i: x[i, i], mat, ints)
_add("index", "x[mask2]", lambda x, m: x[m], mat, mask2)
_add("index", "x[mask] = 1", lambda x, m: x.__setitem__(m, 1.0), vec, mask)
_add("index", "x[mask] = gpu scalar", lambda x, m: x.__setitem__(m, x[0].clone()), vec, mask)
_add("index", "x[mask] = host scalar", lambda x, m: x.__setitem__(m, torch.tensor(1.0)), vec, mask)
_add("index", "x[mask] = tensor", lambda x, m: x.__setitem__(m, x[m] + 1), vec, mask)
_add("index", "x[host mask] = 1", lambda x, m: x.__setitem__(m, 1.0), vec, host_mask)
_add("index", "x[host mask] = tensor", lambda x, m: x.__setitem__(m, x[:22].clone()), vec, host_mask)
_add("index", "x[gpu ints] = 1", lambda x, i: x.__setitem__(i, 1.0), vec, ints)
_add("index", "x[gpu ints] = tensor", lambda x, i: x.__setitem__(i, x[:8].clone()), vec, ints)
_add("index", "x[host ints] = tensor", lambda x, i: x.__setitem__(i, x[:3].clone()), vec, host_ints)
_add("index", "x[list] = 1", lambda x: x.__setitem__([0, 3], 1.0), vec)
_add("index", "x[gpu scalar] = 1", lambda x, i: x.__setitem__(i, 1.0), vec, scalar)
_add("index", "x[0] = 1", lambda x: x.__setitem__(0, 1.0), vec)
_add("index", "x[0] = host tensor", lambda x: x.__setitem__(0, torch.tensor(1.0)), vec)
_add("index", "x[:4] = list tensor", lambda x: x.__setitem__(slice(0, 4), torch.tensor([1.0, 2, 3, 4])), vec)
_add("index", "x += 1 at mask", lambda x, m: x.__setitem__(m, x[m] + 1), mat, mask2)
_add("index", "index_select", lambda x, i: x.index_select(0, i), vec, ints)
_add("index", "index_add_", lambda x, i: x.index_add_(0, i, x[:8].clone()), vec, ints)
_add("index", "index_copy_", lambda x, i: x.index_copy_(0, i, x[8:16].clone()), vec, ints)
_add("index", "index_fill_", lambda x, i: x.index_fill_(0, i, 2.0), vec, ints)
_add("index", "index_put_", lambda x, i: x.index_put_((i,), x[:8].clone(), accumulate=True), vec, ints)
_add("index", "gather", lambda x, i: x.gather(0, i), vec, ints)
_add("index", "scatter_", lambda x, i: x.scatter_(0, i, 1.0), vec, ints)
_add("index", "scatter_add_", lambda x, i: x.scatter_add_(0, i, x[:8].clone()), vec, ints)
_add("index", "take", lambda x, i: x.take(i), vec, ints)
_add("index", "take_along_dim", lambda x, i: x.take_along_dim(i, 0), vec, ints)
_add("index", "masked_fill", lambda x, m: x.masked_fill(m, 0.0), vec, mask)
_add("index", "masked_fill by gpu scalar", lambda x, m: x.masked_fill(m, x[0]), vec, mask)
_add("index", "masked_scatter", lambda x, m: x.masked_scatter(m, x), vec, mask)
_add("index", "where(mask, a, b)", lambda x, m: torch.where(m, x, 0.0), vec, mask)
_add("index", "embedding", lambda i: F.embedding(i, torch.zeros(8, 4, device="cuda")), ints)
_add(
    "index",
    "embedding_bag",
    lambda i: F.embedding_bag(i, torch.zeros(8, 4, device="cuda"), torch.arange(0, 8, 4, device="cuda")),
    ints,
)

# Sizes that depend on the data.
_add("size", "nonzero", lambda x: x.nonzero(), mask)
_add("size", "nonzero as_tuple", lambda x: x.nonzero(as_tuple=True), mask)
_add("size", "nonzero of scalar", lambda x: x.nonzero(), scalar)
_add("size", "nonzero_static", lambda x: torch.nonzero_static(x, size=8), mask)
_add("size", "argwhere", lambda x: torch.argwhere(x), mask)
_add("size", "where(mask)", lambda x: torch.where(x), mask)
_add("size", "count_nonzero", lambda x: x.count_nonzero(), mask)
_add("size", "masked_select", lambda x, m: x.masked_select(m), vec, mask)
_add("size", "unique", lambda x: x.unique(), ints)
_add("size", "unique with inverse", lambda x: x.unique(return_inverse=True), ints)
_add("size", "unique with counts", lambda x: x.unique(return_counts=True), ints)
_add("size", "unique dim", lambda x: x.unique(dim=0), mat)
_add("size", "unique_consecutive", lambda x: x.unique_consecutive(), ints)
_add("size", "repeat_interleave(counts)", lambda n: torch.repeat_interleave(n), counts)
_add("size", "repeat_interleave(x, counts)", lambda x, n: torch.repeat_interleave(x[:4], n), vec, counts)
_add(
    "size",
    "repeat_interleave(x, counts, output_size)",
    lambda x, n: torch.repeat_interleave(x[:4], n, output_size=10),
    vec,
    counts,
)
_add("size", "repeat_interleave(x, 3)", lambda x: torch.repeat_interleave(x, 3), vec)
_add("size", "repeat_interleave(x, gpu scalar)", lambda x, n: torch.repeat_interleave(x, n), vec, scalar)
_add("size", "one_hot", lambda x: F.one_hot(x), ints)
_add("size", "one_hot(num_classes)", lambda x: F.one_hot(x, num_classes=8), ints)
_add("size", "bincount", lambda x: x.bincount(), ints)
_add("size", "bincount(minlength)", lambda x: x.bincount(minlength=8), ints)
_add("size", "histc", lambda x: x.histc(8), vec)
_add("size", "histc(min, max)", lambda x: x.histc(8, -1, 1), vec)
_add("size", "split by list", lambda x: x.split([32, 32]), vec)
_add("size", "split by tolist", lambda x, n: x[:10].split(n.tolist()), vec, counts)
_add("size", "tensor_split by gpu tensor", lambda x, n: x.tensor_split(n.cpu()), vec, counts)
_add("size", "chunk", lambda x: x.chunk(4), vec)
_add("size", "pad_sequence", lambda x: torch.nn.utils.rnn.pad_sequence([x[:3], x[:5]]), vec)
_add(
    "size",
    "pack_padded_sequence",
    lambda x: torch.nn.utils.rnn.pack_padded_sequence(x.view(8, 8, 1), torch.tensor([8] * 8)),
    vec,
)
_add("size", "view(-1)", lambda x: x.view(8, -1), vec)
_add("size", "expand by item", lambda x, n: x[:1].expand(int(n)), vec, scalar)
_add("size", "bucketize", lambda x: torch.bucketize(x, torch.linspace(-1, 1, 4, device="cuda")), vec)
_add("size", "searchsorted", lambda x: torch.searchsorted(x, x), vec)
_add("size", "isin", lambda x: torch.isin(x, x[:2]), ints)
_add("size", "cumsum", lambda x: x.cumsum(0), ints)
_add("size", "cumsum out", lambda x: torch.cumsum(x, 0, out=torch.empty_like(x)), ints)
_add("size", "diff", lambda x: x.diff(), ints)

# Sorting, reductions, random numbers.
_add("math", "sort", lambda x: x.sort(), vec)
_add("math", "argsort stable", lambda x: x.argsort(stable=True), ints)
_add("math", "topk", lambda x: x.topk(4), vec)
_add("math", "kthvalue", lambda x: x.kthvalue(4), vec)
_add("math", "median", lambda x: x.median(), vec)
_add("math", "mode", lambda x: x.mode(), ints)
_add("math", "quantile", lambda x: x.quantile(0.5), vec)
_add("math", "std, var, norm", lambda x: (x.std(), x.var(), x.norm()), vec)
_add("math", "matmul", lambda x: x @ x, mat)
_add("math", "bmm", lambda x: torch.bmm(x[None], x[None]), mat)
_add("math", "einsum", lambda x: torch.einsum("ij,jk->ik", x, x), mat)
_add("math", "softmax", lambda x: x.softmax(-1), mat)
_add("math", "clamp by gpu scalar", lambda x: x.clamp(min=x[0]), vec)
_add("math", "pow by gpu scalar", lambda x: x ** x[0].abs(), vec)
_add("math", "lerp by gpu scalar", lambda x: torch.lerp(x, x, x[0]), vec)
_add("math", "add alpha=item", lambda x: torch.add(x, x, alpha=x[0].item()), vec)
_add("math", "addcmul", lambda x: torch.addcmul(x, x, x, value=0.5), vec)
_add("math", "roll", lambda x: x.roll(3), vec)
_add("math", "randn", lambda: torch.randn(8, device="cuda"))
_add("math", "rand_like", lambda x: torch.rand_like(x), vec)
_add("math", "randint", lambda: torch.randint(0, 9, (8,), device="cuda"))
_add("math", "randperm", lambda: torch.randperm(64, device="cuda"))
_add("math", "bernoulli", lambda x: torch.bernoulli(x.abs()), vec)
_add("math", "bernoulli_(p)", lambda x: x.bernoulli_(0.5), vec)
_add("math", "normal_(mean, std)", lambda x: x.normal_(0, 1), vec)
_add("math", "normal(tensor, tensor)", lambda x: torch.normal(x, x.abs()), vec)
_add("math", "normal(0, tensor)", lambda x: torch.normal(0.0, x.abs()), vec)
_add("math", "multinomial 1", lambda x: torch.multinomial(x.softmax(-1), 1), mat)
_add("math", "multinomial 4", lambda x: torch.multinomial(x.softmax(-1), 4), mat)
_add("math", "multinomial with replacement", lambda x: torch.multinomial(x.softmax(-1), 4, replacement=True), mat)
_add(
    "math", "Categorical.sample", lambda x: torch.distributions.Categorical(logits=x, validate_args=False).sample(), mat
)
_add("math", "Categorical.sample, validated", lambda x: torch.distributions.Categorical(logits=x).sample(), mat)
_add("math", "Normal.sample, validated", lambda x: torch.distributions.Normal(x, x.abs() + 1).sample(), vec)
_add("math", "dropout", lambda x: F.dropout(x, 0.5), vec)
_add("math", "manual_seed", lambda: torch.manual_seed(0))
_add("math", "get_rng_state", lambda: torch.cuda.get_rng_state())
_add("math", "fft", lambda x: torch.fft.rfft(x), vec)
_add("math", "inv", lambda x: torch.linalg.inv(x), spd)
_add("math", "inv_ex", lambda x: torch.linalg.inv_ex(x), spd)
_add("math", "solve", lambda x: torch.linalg.solve(x, x), spd)
_add("math", "cholesky", lambda x: torch.linalg.cholesky(x), spd)
_add("math", "cholesky_ex", lambda x: torch.linalg.cholesky_ex(x), spd)
_add("math", "qr", lambda x: torch.linalg.qr(x), mat)
_add("math", "svd", lambda x: torch.linalg.svd(x), mat)
_add("math", "eigh", lambda x: torch.linalg.eigh(x), spd)
_add("math", "det", lambda x: torch.linalg.det(x), spd)
_add("math", "lstsq", lambda x: torch.linalg.lstsq(x, x).solution, spd)
_add("math", "matrix_rank", lambda x: torch.linalg.matrix_rank(x), mat)
_add("math", "pinv", lambda x: torch.linalg.pinv(x), mat)
_add("math", "lu_factor", lambda x: torch.linalg.lu_factor(x), spd)
_add("math", "solve_triangular", lambda x: torch.linalg.solve_triangular(x, x, upper=True), spd)

# Asking to wait.
_add("explicit", "cuda.synchronize()", lambda: torch.cuda.synchronize())
_add("explicit", "accelerator.synchronize()", lambda: torch.accelerator.synchronize())
_add("explicit", "current_stream().synchronize()", lambda: torch.cuda.current_stream().synchronize())
_add("explicit", "Stream.synchronize()", lambda s: s.synchronize(), stream)
_add("explicit", "Event.synchronize()", lambda e: e.synchronize(), event)
_add("explicit", "Event.query()", lambda e: e.query(), event)
_add("explicit", "Stream.query()", lambda s: s.query(), stream)
_add("explicit", "Event.wait()", lambda e: e.wait(), event)
_add("explicit", "Stream.wait_event()", lambda s, e: s.wait_event(e), stream, event)
_add("explicit", "Stream.wait_stream()", lambda s: s.wait_stream(torch.cuda.current_stream()), stream)
_add("explicit", "Event.record()", lambda e: e.record(), event)
_add("explicit", "elapsed_time", lambda e: (e.synchronize(), e.elapsed_time(e)), event)
_add("explicit", "record_stream", lambda x, s: x.record_stream(s), vec, stream)
_add("explicit", "empty_cache", lambda: torch.cuda.empty_cache())
_add("explicit", "memory_allocated", lambda: torch.cuda.memory_allocated())
_add("explicit", "mem_get_info", lambda: torch.cuda.mem_get_info())
_add("explicit", "device properties", lambda: (torch.cuda.get_device_name(), torch.cuda.current_device()))

# Training.
_add("train", "backward", lambda x: _backward((x * x).sum()), leaf)
_add("train", "backward through x[mask]", lambda x, m: _backward(x[m].sum()), leaf, mask)
_add("train", "backward through x[ints]", lambda x, i: _backward(x[i].sum()), leaf, ints)
_add("train", "backward through masked_select", lambda x, m: _backward(x.masked_select(m).sum()), leaf, mask)
_add("train", "backward through embedding", lambda i, m: _backward(F.embedding(i, m.weight).sum()), ints, linear)
_add("train", "cross_entropy", lambda x, y: F.cross_entropy(x, y), mat, labels)
_add("train", "cross_entropy, ignore_index", lambda x, y: F.cross_entropy(x, y), mat, ignored_labels)
_add(
    "train",
    "nll, mse, bce",
    lambda x: (F.mse_loss(x, x), F.l1_loss(x, x), F.binary_cross_entropy_with_logits(x, x.abs())),
    vec,
)
_add("train", "loss.item()", lambda x: (x * x).mean().item(), leaf)
_add("train", "clip_grad_norm_", lambda x: (_backward((x * x).sum()), torch.nn.utils.clip_grad_norm_([x], 1.0)), leaf)
_add(
    "train",
    "clip_grad_norm_, error_if_nonfinite",
    lambda x: (_backward((x * x).sum()), torch.nn.utils.clip_grad_norm_([x], 1.0, error_if_nonfinite=True)),
    leaf,
)
_add("train", "clip_grad_value_", lambda x: (_backward((x * x).sum()), torch.nn.utils.clip_grad_value_([x], 1.0)), leaf)
_add("train", "SGD step", lambda x: (_backward((x * x).sum()), torch.optim.SGD([x], lr=0.1).step()), leaf)
_add("train", "Adam step", lambda x: (_backward((x * x).sum()), torch.optim.Adam([x], lr=0.1).step()), leaf)
_add(
    "train",
    "AdamW step, foreach off",
    lambda x: (_backward((x * x).sum()), torch.optim.AdamW([x], lr=0.1, foreach=False).step()),
    leaf,
)
_add(
    "train",
    "Adam step, fused",
    lambda x: (_backward((x * x).sum()), torch.optim.Adam([x], lr=0.1, fused=True).step()),
    leaf,
)
_add(
    "train",
    "Adam step, capturable",
    lambda x: (_backward((x * x).sum()), torch.optim.Adam([x], lr=0.1, capturable=True).step()),
    leaf,
)


def _scaled_step(x: torch.Tensor) -> None:
    scaler = torch.amp.GradScaler("cuda")
    optimizer = torch.optim.SGD([x], lr=0.1)
    torch.autograd.backward(scaler.scale((x * x).sum()))
    scaler.step(optimizer)
    scaler.update()


_add("train", "GradScaler step", _scaled_step, leaf)
_add("train", "autograd.grad", lambda x: torch.autograd.grad((x * x).sum(), x), leaf)
_add("train", "detect_anomaly", lambda x: torch.autograd.set_detect_anomaly(False) or _backward((x * x).sum()), leaf)
_add("train", "zero_grad", lambda m: m.zero_grad(), linear)
_add("train", "linear forward", lambda m, x: m(x), linear, mat)
_add("train", "attention", lambda x: F.scaled_dot_product_attention(x[None, None], x[None, None], x[None, None]), mat)
_add("train", "layer_norm", lambda x: F.layer_norm(x, (16,)), mat)
_add("train", "batch_norm", lambda x: torch.nn.BatchNorm1d(16, device="cuda")(x), mat)
_add("train", "conv1d", lambda x: F.conv1d(x[None], torch.zeros(16, 16, 3, device="cuda")), mat)
_add(
    "train",
    "ctc_loss",
    lambda x: F.ctc_loss(
        x.view(16, 1, 16).log_softmax(-1),
        torch.ones(1, 4, dtype=torch.long, device="cuda"),
        torch.tensor([16]),
        torch.tensor([4]),
    ),
    mat,
)

# Sparse and nested layouts.
_add("layout", "to_sparse", lambda x: x.to_sparse(), mat)
_add("layout", "to_sparse_csr", lambda x: x.to_sparse_csr(), mat)
_add("layout", "to_dense", lambda x: x.to_dense(), sparse)
_add(
    "layout",
    "coalesce",
    lambda x: torch.sparse_coo_tensor(torch.zeros(1, 3, dtype=torch.long, device="cuda"), x[:3], (8,)).coalesce(),
    vec,
)
_add("layout", "sparse matmul", lambda s, x: torch.sparse.mm(s, x[:8]), sparse, mat)
_add("layout", "nested_tensor", lambda x: torch.nested.nested_tensor([x[:3], x[:5]]), vec)
_add("layout", "nested jagged", lambda x: torch.nested.nested_tensor([x[:3], x[:5]], layout=torch.jagged), vec)

# What serving engines write.
_add(
    "serving",
    "cu_seqlens from host",
    lambda: torch.tensor([0, 3, 8], dtype=torch.int32).pin_memory().to("cuda", non_blocking=True),
)
_add("serving", "cu_seqlens tolist", lambda n: F.pad(n.cumsum(0), (1, 0)).tolist(), counts)
_add("serving", "max_seqlen item", lambda n: n.max().item(), counts)
_add("serving", "block table rows by mask", lambda x, m: x[m[:16]], mat, mask)
_add("serving", "stable partition", lambda m: torch.argsort(m.int(), stable=True), mask)
_add("serving", "index_copy_ back", lambda x, i: x.clone().index_copy_(0, i, x[:8]), mat, ints)
_add("serving", "top-p sampling", lambda x: x.softmax(-1).sort(-1, descending=True)[0].cumsum(-1) > 0.9, mat)
_add("serving", "stop check", lambda x: bool((x == 3).all()), ints)
_add(
    "serving",
    "async read one step late",
    lambda x, y, e: (y.copy_(x, non_blocking=True), e.record()),
    vec,
    pinned,
    event,
)
_add("serving", "slot mapping", lambda x: (x // 4) * 4 + x % 4, ints)
