"""Further idioms to try on a GPU and on the virtual device: other sizes, layouts, types and spellings.

Each is a name, its inputs, which are made anew outside of what is measured, and one to three lines of code. Which of
them wait is measured (`benchmarks/idioms.py`), not written here. The first such table is `tests/helpers/sync_ops.py`.
"""

from __future__ import annotations

import copy
import io
import pickle
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.nn.utils import prune

Input = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Idiom:
    """One idiom: its name, its inputs and its code."""

    name: str
    inputs: tuple[Input, ...]
    call: Callable[..., object]


IDIOMS: dict[str, Idiom] = {}


def _add(name: str, call: Callable[..., object], *inputs: Input) -> None:
    if name in IDIOMS:
        raise ValueError(f"two idioms are called {name!r}")
    IDIOMS[name] = Idiom(name, inputs, call)


@cache
def _made(kind: str, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    if kind == "float":
        return torch.randn(*shape, generator=generator)
    if kind == "int":
        return torch.randint(0, 100, shape, generator=generator)
    if kind == "bool":
        return torch.rand(*shape, generator=generator) > 0.7
    if kind == "complex":
        return torch.complex(torch.randn(*shape, generator=generator), torch.randn(*shape, generator=generator))
    raise ValueError(kind)


def rand(*shape: int, dtype: torch.dtype | None = None, grad: bool = False) -> Input:
    return lambda: _made("float", *shape).to("cuda", dtype or torch.float32, copy=True).requires_grad_(grad)


def ints(*shape: int, high: int = 100, dtype: torch.dtype = torch.int64) -> Input:
    return lambda: (_made("int", *shape) % high).to("cuda", dtype)


def mask(*shape: int) -> Input:
    return lambda: _made("bool", *shape).to("cuda")


def cplx(*shape: int) -> Input:
    return lambda: _made("complex", *shape).to("cuda")


def host(*shape: int, dtype: torch.dtype | None = None) -> Input:
    return lambda: _made("float", *shape).to(dtype or torch.float32, copy=True)


def host_ints(*shape: int, high: int = 100) -> Input:
    return lambda: _made("int", *shape) % high


def pinned(*shape: int) -> Input:
    return lambda: _made("float", *shape).clone().pin_memory()


def spd(size: int, dtype: torch.dtype = torch.float32) -> Input:
    def make() -> torch.Tensor:
        x = _made("float", size, size).to(dtype)
        return (x @ x.mT / size + torch.eye(size, dtype=dtype)).to("cuda")

    return make


def num(value: float, dtype: torch.dtype | None = None) -> Input:
    return lambda: torch.tensor(value, dtype=dtype).to("cuda")


def coo(rows: int, columns: int, entries: int, coalesced: bool = False) -> Input:
    def make() -> torch.Tensor:
        index = torch.stack([_made("int", entries) % rows, (_made("int", entries) * 7) % columns])
        made = torch.sparse_coo_tensor(index, _made("float", entries), (rows, columns)).to("cuda")
        return made.coalesce() if coalesced else made

    return make


def csr(rows: int, columns: int) -> Input:
    return lambda: (_made("float", rows, columns) * _made("bool", rows, columns)).to_sparse_csr().to("cuda")


def jagged(*lengths: int, width: int = 8) -> Input:
    def make() -> torch.Tensor:
        parts = [_made("float", each, width).to("cuda") for each in lengths]
        return torch.nested.nested_tensor(parts, layout=torch.jagged)

    return make


def strided_nested(*lengths: int, width: int = 8) -> Input:
    return lambda: torch.nested.nested_tensor([_made("float", each, width).to("cuda") for each in lengths])


def boxes(count: int) -> Input:
    def make() -> torch.Tensor:
        corner = _made("float", count, 4).abs() * 20
        return torch.cat([corner[:, :2], corner[:, :2] + corner[:, 2:] + 1], 1).to("cuda")

    return make


def module(make: Callable[[], nn.Module]) -> Input:
    return lambda: make().to("cuda")


def _each_backward(loss: torch.Tensor) -> None:
    torch.autograd.backward(loss.sum())


# Sorting, searching and counting, small and large.
for _size in (64, 2048, 4096, 100_000, 1_000_000):
    _add(f"sort of {_size}", lambda x: x.sort(), rand(_size))
    _add(f"unique of {_size}", lambda x: x.unique(), ints(_size))
    _add(f"topk of {_size}", lambda x: x.topk(5), rand(_size))
    _add(f"x[x > 0] of {_size}", lambda x: x[x > 0], rand(_size))
for _size in (512, 2048, 2049, 5000):
    _add(f"mode of {_size}", lambda x: x.mode(), ints(_size))
    _add(f"median of {_size}", lambda x: x.median(), rand(_size))
    _add(f"kthvalue of {_size}", lambda x: x.kthvalue(7), rand(_size))
for _size in (30_000, 300_000):
    _add(f"randperm({_size})", lambda n=_size: torch.randperm(n, device="cuda"))
_add("mode of rows", lambda x: x.mode(dim=1), ints(16, 3000))
_add("mode of floats, dim 0", lambda x: x.mode(dim=0), rand(4000, 3))
_add("nanmedian", lambda x: x.nanmedian(), rand(5000))
_add("median(dim)", lambda x: x.median(dim=1), rand(8, 3000))
_add("quantile of many", lambda x: torch.quantile(x, torch.tensor([0.1, 0.9], device="cuda")), rand(50_000))
_add("quantile, host q", lambda x: torch.quantile(x, torch.tensor([0.1, 0.9])), rand(500))
_add("nanquantile(dim)", lambda x: torch.nanquantile(x, 0.5, dim=1), rand(8, 500))
_add("sort stable, bool", lambda x: x.sort(stable=True), mask(3000))
_add("sort of strided, dim 0", lambda x: x.t().sort(dim=0), rand(300, 5000))
_add("argsort of int32, descending", lambda x: x.argsort(descending=True), ints(70_000, dtype=torch.int32))
_add("msort", lambda x: torch.msort(x), rand(3000, 4))
_add("topk, large k", lambda x: x.topk(3000), rand(8, 5000))
_add("topk of bfloat16, unsorted", lambda x: x.topk(50, sorted=False), rand(4, 60_000, dtype=torch.bfloat16))
_add("unique, sorted off", lambda x: torch.unique(x, sorted=False), ints(5000))
_add("unique with both", lambda x: torch.unique(x, return_inverse=True, return_counts=True), ints(5000))
_add("unique of bool", lambda x: x.unique(), mask(5000))
_add("unique of floats", lambda x: x.unique(), rand(5000))
_add("unique of rows", lambda x: torch.unique(x, dim=0, return_inverse=True), ints(300, 3, high=4))
_add("unique of columns, counts", lambda x: torch.unique(x, dim=1, return_counts=True), ints(3, 300, high=4))
_add("unique_consecutive with counts", lambda x: torch.unique_consecutive(x, return_counts=True), ints(5000, high=3))
_add("unique_consecutive(dim)", lambda x: torch.unique_consecutive(x, dim=0), ints(300, 2, high=2))
_add("unique of empty", lambda x: x.unique(), ints(0))
_add("bincount with weights", lambda x, w: torch.bincount(x, weights=w), ints(5000), rand(5000))
_add("bincount, minlength, big", lambda x: torch.bincount(x, minlength=4096), ints(100_000))
_add("histc of many", lambda x: torch.histc(x, bins=100), rand(100_000))
_add("histc of ints", lambda x: torch.histc(x, bins=10, min=0, max=100), ints(5000))
_add("searchsorted(sorter=)", lambda x, v: torch.searchsorted(x, v, sorter=x.argsort()), rand(1000), rand(64))
_add("searchsorted of a number", lambda x: torch.searchsorted(x.sort()[0], 0.5), rand(1000))
_add("searchsorted, right, rows", lambda x: torch.searchsorted(x.sort(-1)[0], x, right=True), rand(8, 500))
_add("searchsorted out_int32", lambda x: torch.searchsorted(x.sort()[0], x, out_int32=True), rand(3000))
_add("bucketize by host edges", lambda x: torch.bucketize(x, torch.tensor([0.0, 1.0])), rand(500))
_add("bucketize of a number", lambda x: torch.bucketize(0.3, x.sort()[0]), rand(500))
_add("isin by list tensor", lambda x: torch.isin(x, torch.tensor([3, 5, 7], device="cuda")), ints(5000))
_add("isin of many, unique", lambda x, y: torch.isin(x, y, assume_unique=True), ints(5000), ints(3000))
_add("isin of a number", lambda x: torch.isin(x, 5), ints(5000))
_add("isin, invert, many", lambda x, y: torch.isin(x, y, invert=True), ints(4000), ints(4000, high=50))
_add("combinations r=3", lambda x: torch.combinations(x, r=3), ints(10))
_add("combinations with replacement", lambda x: torch.combinations(x, with_replacement=True), ints(40))
_add("nonzero of floats, 3 dims", lambda x: x.nonzero(), rand(8, 16, 32))
_add("nonzero of strided", lambda x: x.t().nonzero(), mask(300, 400))
_add("count_nonzero(dim) item", lambda x: x.count_nonzero(dim=0).max().item(), mask(300, 40))
_add("cummax and cummin", lambda x: (x.cummax(0), x.cummin(0)), rand(5000))
_add("logcumsumexp of columns", lambda x: x.logcumsumexp(0), rand(3000, 4))
_add("cumsum of int, long", lambda x: x.cumsum(0), ints(1_000_000))

# Indices, masks, scatter.
_add("x[mask] = 0.0 backward", lambda x, m: _each_backward(_set(x * 1, m, 0.0)), rand(500, grad=True), mask(500))
_add("x[mask] *= 2", lambda x, m: x.__setitem__(m, x[m] * 2), rand(100_000), mask(100_000))
_add("x[mask, 0]", lambda x, m: x[m, 0], rand(300, 8), mask(300))
_add("x[:, mask]", lambda x, m: x[:, m], rand(8, 300), mask(300))
_add("x[mask][:, ints]", lambda x, m, i: x[m][:, i], rand(300, 100), mask(300), ints(9))
_add("x[mask] of bfloat16", lambda x, m: x[m], rand(40_000, dtype=torch.bfloat16), mask(40_000))
_add("x[uint8 mask]", lambda x, m: x[m.to(torch.uint8)], rand(300), mask(300))
_add("x[None mask, ...]", lambda x, m: x[m.unsqueeze(0)], rand(1, 300), mask(300))
_add("x[ints2d]", lambda x, i: x[i], rand(100, 64), ints(30, 40))
_add("x[int32 ints]", lambda x, i: x[i], rand(100), ints(30, dtype=torch.int32))
_add("x[[list of lists]]", lambda x: x[[[0, 1], [2, 3]]], rand(8, 8))
_add("x[numpy ints]", lambda x, i: x[i.numpy()], rand(100), host_ints(20))
_add("x[numpy mask]", lambda x: x[(torch.arange(100) > 50).numpy()], rand(100))
_add("x[gpu scalar, :]", lambda x, i: x[i, :], rand(8, 8), num(3))
_add("x[gpu scalar, ints]", lambda x, i, j: x[i, j], rand(8, 100), num(3), ints(7))
_add("x[:, -gpu scalar:]", lambda x, i: x[:, -i:], rand(8, 8), num(3))
_add("x[ints] += 1", lambda x, i: x.__setitem__(i, x[i] + 1), rand(100, 16), ints(50))
_add("x[list, list] = host", lambda x: x.__setitem__(([0, 1], [1, 2]), torch.tensor([1.0, 2.0])), rand(8, 8))
_add(
    "index_put_ accumulate, big",
    lambda x, i, v: x.index_put_((i,), v, accumulate=True),
    rand(100),
    ints(100_000),
    rand(100_000),
)
_add("index_put_ by mask", lambda x, m: x.index_put_((m,), torch.tensor(1.0, device="cuda")), rand(300), mask(300))
_add("index_put_ host value", lambda x, i: x.index_put_((i,), torch.tensor(1.0)), rand(100), ints(10))
_add("index_add_ of rows, big", lambda x, i, v: x.index_add_(0, i, v), rand(100, 64), ints(20_000), rand(20_000, 64))
_add("index_reduce_ amax", lambda x, i, v: x.index_reduce_(0, i, v, "amax"), rand(100), ints(500), rand(500))
_add("scatter_reduce mean", lambda x, i, v: x.scatter_reduce(0, i, v, "mean"), rand(100), ints(5000), rand(5000))
_add(
    "scatter_reduce prod backward",
    lambda x, i, v: _each_backward(x.scatter_reduce(0, i, v, "prod")),
    rand(100),
    ints(500),
    rand(500, grad=True),
)
_add(
    "scatter_add_ of float16",
    lambda x, i, v: x.scatter_add_(0, i, v),
    rand(100, dtype=torch.half),
    ints(5000),
    rand(5000, dtype=torch.half),
)
_add("put_ and take", lambda x, i, v: (x.put_(i, v), x.take(i)), rand(10, 10), ints(20), rand(20))
_add("gather backward", lambda x, i: _each_backward(x.gather(1, i)), rand(100, 200, grad=True), ints(100, 30))
_add("index_select backward", lambda x, i: _each_backward(x.index_select(0, i)), rand(100, 64, grad=True), ints(5000))
_add("x[ints] backward, big", lambda x, i: _each_backward(x[i]), rand(100, 64, grad=True), ints(100_000))
_add("embedding backward, big", lambda w, i: _each_backward(F.embedding(i, w)), rand(100, 64, grad=True), ints(64, 128))
_add(
    "embedding backward, padding",
    lambda w, i: _each_backward(F.embedding(i, w, padding_idx=0)),
    rand(100, 64, grad=True),
    ints(64, 128),
)
_add(
    "embedding backward, by freq",
    lambda w, i: _each_backward(F.embedding(i, w, scale_grad_by_freq=True)),
    rand(100, 64, grad=True),
    ints(64, 128),
)
_add(
    "embedding backward, sparse",
    lambda w, i: _each_backward(F.embedding(i, w, sparse=True)),
    rand(100, 64, grad=True),
    ints(64, 128),
)
_add("embedding, max_norm", lambda w, i: F.embedding(i, w, max_norm=1.0), rand(100, 64), ints(200))
_add(
    "embedding_bag max backward",
    lambda w, i: _each_backward(F.embedding_bag(i, w, mode="max")),
    rand(100, 64, grad=True),
    ints(64, 12),
)
_add(
    "embedding_bag, host offsets",
    lambda w, i: F.embedding_bag(i, w, torch.tensor([0, 4]).cuda()),
    rand(100, 64),
    ints(9),
)
_add("masked_fill backward", lambda x, m: _each_backward(x.masked_fill(m, 0)), rand(3000, grad=True), mask(3000))
_add("masked_fill by host scalar", lambda x, m: x.masked_fill(m, torch.tensor(-1e9)), rand(300), mask(300))
_add("masked_scatter_ of rows", lambda x, m, v: x.masked_scatter_(m[:, None], v), rand(300, 8), mask(300), rand(300, 8))
_add("masked_select of broadcast", lambda x, m: x.masked_select(m[:, None]), rand(300, 8), mask(300))
_add("where(mask, x, host scalar)", lambda x, m: torch.where(m, x, torch.tensor(0.0)), rand(300), mask(300))
_add("where(mask, x, gpu scalar)", lambda x, m, s: torch.where(m, x, s), rand(300), mask(300), num(0.0))
_add("where(mask)[0]", lambda m: torch.where(m)[0], mask(100_000))
_add("tensor_split by gpu tensor", lambda x, i: torch.tensor_split(x, i), rand(100), ints(2))
_add("tensor_split by host tensor", lambda x: torch.tensor_split(x, torch.tensor([3, 5])), rand(100))
_add("tensor_split in 3", lambda x: torch.tensor_split(x, 3), rand(100))
_add("repeat_interleave(ints, dim)", lambda x, n: x.repeat_interleave(n, dim=1), rand(4, 100), ints(100, high=4))
_add("repeat_interleave, host counts", lambda x: x.repeat_interleave(torch.tensor([1, 2, 3])), rand(3))
_add("repeat_interleave backward", lambda x: _each_backward(x.repeat_interleave(3, 0)), rand(100, grad=True))
_add("repeat by a gpu scalar", lambda x, n: x.repeat(n), rand(10), num(3))
_add("tile and expand by item", lambda x, n: x.tile((n.item(),)), rand(10), num(3))
_add("roll by a gpu scalar", lambda x, n: x.roll(int(n)), rand(10), num(3))
_add("narrow by a gpu scalar", lambda x, n: x.narrow(0, n, 4), rand(10), num(3))
_add("select by a gpu scalar", lambda x, n: x.select(0, n), rand(10), num(3))
_add(
    "diag, tril, triu_indices",
    lambda x: (x.diag(), x.tril(), torch.triu_indices(300, 300, device="cuda")),
    rand(300, 300),
)
_add("one_hot of host", lambda i: F.one_hot(i).to("cuda"), host_ints(30))
_add("one_hot, many", lambda i: F.one_hot(i), ints(50_000))
_add("segment_reduce", lambda x: torch.segment_reduce(x, "sum", lengths=torch.tensor([3, 7], device="cuda")), rand(10))
_add("block_diag", lambda x: torch.block_diag(x, x, x), rand(8, 8))
_add("meshgrid of aranges", lambda x: torch.meshgrid(x, x, indexing="ij"), ints(300))


def _set(x: torch.Tensor, where: Any, value: Any) -> torch.Tensor:
    x[where] = value
    return x


# Values that are made from, or read by, the host.
_add("LongTensor([gpu0d, gpu0d])", lambda a, b: torch.LongTensor([a, b]), num(3), num(4))
_add("tensor(list of gpu scalars), device", lambda x: torch.tensor([x[0], x[1]], device="cuda"), rand(8))
_add("tensor(list of items)", lambda x: torch.tensor([each.item() for each in x], device="cuda"), rand(8))
_add("tensor(gpu tensor)", lambda x: torch.tensor(x), rand(8))
_add("tensor(numpy of gpu)", lambda x: torch.tensor(x.cpu().numpy(), device="cuda"), rand(8))
_add("as_tensor(gpu scalar list)", lambda x: torch.as_tensor(list(x)), rand(4))
_add("torch.cuda.FloatTensor(list)", lambda: torch.cuda.FloatTensor([1.0, 2.0]))
_add("torch.cuda.FloatTensor(3, 4)", lambda: torch.cuda.FloatTensor(3, 4))
_add("torch.cuda.LongTensor(3).fill_", lambda: torch.cuda.LongTensor(3).fill_(7))
_add("x.new([1, 2])", lambda x: x.new([1.0, 2.0]), rand(4))
_add("x.new_tensor(numpy)", lambda x, y: x.new_tensor(y.numpy()), rand(4), host(4))
_add("new_full by gpu scalar", lambda x, s: x.new_full((4,), s), rand(4), num(2.0))
_add("full by a host scalar", lambda: torch.full((4,), torch.tensor(2.0), device="cuda"))
_add("full_like by gpu scalar", lambda x, s: torch.full_like(x, s), rand(4), num(2.0))
_add("zeros of a gpu scalar", lambda n: torch.zeros(n, 4, device="cuda"), num(3))
_add("zeros of a host scalar", lambda: torch.zeros(torch.tensor(3), 4, device="cuda"))
_add("arange of a host scalar", lambda: torch.arange(torch.tensor(7), device="cuda"))
_add("linspace between host scalars", lambda: torch.linspace(torch.tensor(0.0), torch.tensor(1.0), 8, device="cuda"))
_add("logspace between gpu scalars", lambda a, b: torch.logspace(a, b, 8, device="cuda"), num(0.0), num(1.0))
_add("fill_ by a gpu scalar", lambda x, s: x.fill_(s), rand(4), num(2.0))
_add("fill_ by a host scalar", lambda x: x.fill_(torch.tensor(2.0)), rand(4))
_add("host.fill_ by a gpu scalar", lambda x, s: x.fill_(s), host(4), num(2.0))
_add("host + gpu scalar", lambda x, s: _tried(lambda: x + s), host(4), num(2.0))
_add("host[0] = gpu scalar", lambda x, s: x.__setitem__(0, s), host(4), num(2.0))
_add("host[gpu scalar]", lambda x, i: x[i], host(8), num(2))
_add("host[gpu ints]", lambda x, i: _tried(lambda: x[i]), host(100), ints(7))
_add("host.copy_(gpu half)", lambda x, y: x.copy_(y), host(500), rand(500, dtype=torch.half))
_add("if tensor", lambda s: 1 if s else 0, num(2.0))
_add("if not tensor.any", lambda m: None if not m.any() else m, mask(100_000))
_add("if a == b", lambda x, y: 1 if (x == y).all() else 0, ints(3000), ints(3000))
_add("tensor and / or", lambda a, b: (a > 1 and b > 1) or a < 0, num(2), num(3))
_add("a < gpu scalar < b", lambda s: 0 < s < 5, num(2.0))
_add("while error > eps", lambda x: _shrink(x), rand(8))
_add("f-string of a mean", lambda x: f"loss {x.mean():.4f}", rand(3000))
_add("percent format", lambda x: "loss %.4f" % x.mean(), rand(3000))  # noqa: UP031
_add("str of a grad scalar", lambda x: f"{(x * x).sum()}", rand(8, grad=True))
_add("repr of many", lambda x: repr(x), rand(100, 100))
_add("repr of half", lambda x: repr(x), rand(8, dtype=torch.half))
_add("repr of complex", lambda x: repr(x), cplx(8))
_add("repr of empty rows", lambda x: repr(x), rand(0, 3))
_add("repr of a Parameter", lambda x: repr(nn.Parameter(x)), rand(4))
_add("assert (x > 0).all()", lambda x: _assert((x.abs() >= 0).all()), rand(300))
_add("assert_close, two types", lambda x: torch.testing.assert_close(x, x.double(), check_dtype=False), rand(300))
_add(
    "assert_close against host", lambda x, y: torch.testing.assert_close(x, y, check_device=False), rand(300), host(300)
)
_add("assert_close of a list", lambda x: torch.testing.assert_close([x, x], [x.clone(), x.clone()]), rand(30))
_add("allclose with nan", lambda x: torch.allclose(x, x + 1e-9, equal_nan=True), rand(100_000))
_add("equal of ints", lambda x: torch.equal(x, x.clone()), ints(100_000))
_add("equal of itself", lambda x: torch.equal(x, x), rand(300))
_add("x == x.clone() list compare", lambda x: x.tolist() == x.tolist(), rand(30))
_add("min(a, b) of scalars", lambda a, b: min(a, b), num(2.0), num(3.0))
_add("max(float, scalar)", lambda a: max(0.5, a), num(2.0))
_add("np.array of cpu", lambda x: __import__("numpy").asarray(x.cpu()), rand(300))
_add("np.mean of items", lambda x: __import__("numpy").mean([each.item() for each in x]), rand(5))
_add("numpy() of a detached", lambda x: x.detach().cpu().numpy().copy(), rand(300, grad=True))
_add("numpy(force=True)", lambda x: x.numpy(force=True), rand(300))
_add("math.sqrt of a scalar", lambda s: __import__("math").sqrt(s), num(2.0))
_add("float('inf') compare", lambda s: s == float("inf"), num(2.0))
_add("isfinite all, branch", lambda x: 1 if torch.isfinite(x).all() else 0, rand(3000))
_add("index of a list", lambda s: ["a", "b", "c"][s], num(2))
_add("dict by item", lambda s: {2: "a"}[s.item()], num(2))
_add("torch.Size of gpu scalars", lambda a: torch.Size([a, 3]), num(2))
_add("shape by gpu scalar", lambda x, n: x.view(n, -1), rand(12), num(3))
_add("reshape by gpu scalar", lambda x, n: x.reshape(n, 4), rand(12), num(3))
_add("sum(list of gpu scalars)", lambda x: sum([each.mean() for each in x]), rand(4, 30))
_add("mean of stacked losses, item", lambda x: torch.stack([each.mean() for each in x]).mean().item(), rand(4, 30))
_add("pow by a gpu scalar exponent", lambda x, s: torch.pow(x, s), rand(30), num(2.0))
_add("add(alpha=gpu scalar)", lambda x, s: torch.add(x, x, alpha=s), rand(30), num(2.0))
_add("clamp by python and gpu", lambda x, s: x.clamp(min=-s, max=s), rand(30), num(0.5))
_add("clamp_(max=item)", lambda x, s: x.clamp_(max=s.item()), rand(30), num(0.5))
_add("python float - gpu scalar", lambda s: 1.0 - s, num(0.5))
_add("gpu scalar ** 2 in place", lambda s: s.pow_(2).sub_(1), num(0.5))
_add("int(argmax)", lambda x: int(x.argmax()), rand(3000))
_add("max(dim) to list", lambda x: x.max(dim=1)[1].tolist(), rand(30, 300))
_add("aminmax items", lambda x: [each.item() for each in torch.aminmax(x)], rand(3000))
_add("zip of two tensors", lambda x, y: [a + b for a, b in zip(x, y, strict=True)], rand(4), rand(4))
_add("enumerate rows, item", lambda x: [(i, row.sum().item()) for i, row in enumerate(x)], rand(4, 30))
_add("reversed()", lambda x: reversed(x), rand(4))
_add("x.to_list by numpy", lambda x: x.cpu().numpy().tolist(), ints(30))


def _tried(act: Callable[[], object]) -> object:
    try:
        return act()
    except (RuntimeError, IndexError):
        return None


def _assert(value: torch.Tensor) -> None:
    assert value


def _shrink(x: torch.Tensor) -> torch.Tensor:
    count = 0
    while x.norm() > 1e-3 and count < 3:
        x, count = x * 0.1, count + 1
    return x


# Moves.
_add("to(device) by keyword", lambda m: m.to(device="cuda"), lambda: nn.Linear(8, 8))
_add("module.to(tensor)", lambda m, x: m.to(x), lambda: nn.Linear(8, 8), rand(4))
_add("tensor.to(tensor)", lambda x, y: x.to(y), host(30), rand(4, dtype=torch.half))
_add("module.cuda(0)", lambda m: m.cuda(0), lambda: nn.Linear(8, 8))
_add("module.to(0)", lambda m: m.to(0), lambda: nn.BatchNorm1d(8))
_add("module.to, non_blocking", lambda m: m.to("cuda", non_blocking=True), lambda: nn.Linear(8, 8))
_add("module.half() on the device", lambda m: m.half(), module(lambda: nn.Linear(8, 8)))
_add("module.to_empty", lambda m: m.to_empty(device="cuda"), lambda: nn.Linear(8, 8))
_add("module.to(memory_format)", lambda m: m.to(memory_format=torch.channels_last), module(lambda: nn.Conv2d(3, 4, 3)))
_add("Linear(device=cuda)", lambda: nn.Linear(64, 64, device="cuda"))
_add("LSTM(device=cuda)", lambda: nn.LSTM(8, 8, 2, device="cuda"))
_add("with torch.device(cuda)", lambda: _under_device())
_add("with torch.device(0): tensor", lambda: torch.tensor([1.0, 2.0], device=torch.device(0)))
_add("tensor.cuda(0)", lambda x: x.cuda(0), host(300))
_add("tensor.cuda(torch.device)", lambda x: x.cuda(torch.device("cuda:0")), host(300))
_add("to(other dtype, non_blocking)", lambda x: x.to("cuda", torch.bfloat16, non_blocking=True), host(5000))
_add("pinned to other dtype, non_blocking", lambda x: x.to("cuda", torch.half, non_blocking=True), pinned(5000))
_add("pinned strided to cuda, non_blocking", lambda x: x[:, ::2].to("cuda", non_blocking=True), pinned(64, 64))
_add("pageable strided to cuda", lambda x: x.t().to("cuda"), host(64, 640))
_add("gpu strided to host", lambda x: x[:, ::2].cpu(), rand(64, 640))
_add("gpu to host, double", lambda x: x.double().cpu(), rand(5000))
_add("gpu to pinned, non_blocking", lambda x, y: y.copy_(x, non_blocking=True), rand(5000), pinned(5000))
_add(
    "gpu to pinned, other type, non_blocking",
    lambda x, y: y.copy_(x.half(), non_blocking=True),
    rand(5000),
    pinned(5000),
)
_add("to(copy=True) on the device", lambda x: x.to("cuda", copy=True), rand(5000))
_add("complex to host", lambda x: x.cpu(), cplx(500))
_add("conj view to host", lambda x: x.conj().cpu(), cplx(500))
_add("neg view to host", lambda x: x.conj().imag.cpu(), cplx(500))
_add("bool to host", lambda x: x.cpu(), mask(100_000))
_add("expanded to host", lambda x: x.expand(50, -1).cpu(), rand(1, 50))
_add("zero rows to host", lambda x: x[:0].cpu(), rand(8, 8))
_add("pin_memory of a big one", lambda x: x.pin_memory(), host(1_000_000))
_add("empty(pin_memory=True)", lambda: torch.empty(1000, pin_memory=True))
_add("is_pinned", lambda x: x.is_pinned(), host(8))
_add("share_memory_", lambda x: x.share_memory_(), rand(8))
_add("untyped_storage().cpu()", lambda x: x.untyped_storage().cpu(), rand(8))
_add("untyped_storage()[0]", lambda x: x.untyped_storage()[0], rand(8))
_add("storage().tolist()", lambda x: x.storage().tolist(), rand(8))
_add("storage data_ptr and nbytes", lambda x: (x.untyped_storage().data_ptr(), x.untyped_storage().nbytes()), rand(8))
_add("deepcopy of a big tensor", lambda x: copy.deepcopy(x), rand(100_000))
_add("deepcopy of an optimizer", lambda m: copy.deepcopy(_stepped(m)), module(lambda: nn.Linear(8, 8)))
_add("copy.copy of a tensor", lambda x: copy.copy(x), rand(8))
_add("pickle.loads", lambda x: pickle.loads(pickle.dumps(x)), rand(300))
_add("torch.save and load", lambda x: _saved(x), rand(300))
_add("torch.load, map_location=cpu", lambda x: _saved(x, "cpu"), rand(300))
_add("torch.load, map_location=cuda", lambda x: _saved(x.cpu(), "cuda"), rand(300))
_add("torch.load, map_location=dict", lambda x: _saved(x, {"cuda:0": "cpu"}), rand(300))
_add("torch.load, mmap", lambda x: _mapped(x), rand(300))
_add(
    "load_state_dict, host to gpu",
    lambda m, n: m.load_state_dict(n.state_dict()),
    module(lambda: nn.LSTM(4, 4)),
    lambda: nn.LSTM(4, 4),
)
_add(
    "load_state_dict(assign=True)",
    lambda m, n: m.load_state_dict(n.state_dict(), assign=True),
    module(lambda: nn.Linear(4, 4)),
    lambda: nn.Linear(4, 4),
)
_add("optimizer.load_state_dict, host", lambda m: _reload(m), module(lambda: nn.Linear(4, 4)))
_add("dlpack there and back", lambda x: torch.from_dlpack(x), rand(30))
_add("__cuda_array_interface__", lambda x: x.__cuda_array_interface__, rand(30))
_add("parameters_to_vector", lambda m: nn.utils.parameters_to_vector(m.parameters()), module(lambda: nn.Linear(8, 8)))
_add("DataParallel forward", lambda m, x: nn.DataParallel(m)(x), module(lambda: nn.Linear(8, 8)), rand(4, 8))
_add(
    "DataParallel forward, host input", lambda m, x: nn.DataParallel(m)(x), module(lambda: nn.Linear(8, 8)), host(4, 8)
)
_add("tensor.type(torch.FloatTensor)", lambda x: x.type(torch.FloatTensor), rand(8))
_add("tensor.data.cpu()", lambda x: x.data.cpu(), rand(8, grad=True))


def _under_device() -> torch.Tensor:
    with torch.device("cuda"):
        return torch.tensor([1.0, 2.0]) + torch.zeros(2)


def _stepped(m: nn.Module) -> torch.optim.Optimizer:
    optimizer = torch.optim.Adam(m.parameters())
    torch.autograd.backward(m(torch.ones(2, m.in_features, device="cuda")).sum())
    optimizer.step()
    return optimizer


def _reload(m: nn.Module) -> None:
    optimizer = _stepped(m)
    state = torch.load(_buffer(optimizer.state_dict()), map_location="cpu", weights_only=True)
    optimizer.load_state_dict(state)


def _buffer(value: object) -> io.BytesIO:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return buffer


def _saved(x: torch.Tensor, where: Any = None) -> object:
    return torch.load(_buffer({"x": x}), map_location=where, weights_only=True)


def _mapped(x: torch.Tensor) -> object:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.pt"
        torch.save({"x": x}, path)
        return torch.load(path, map_location="cuda", mmap=True, weights_only=True)["x"].clone()


# Sparse, nested and quantized.
_add("sparse_coo_tensor without size", lambda i, v: torch.sparse_coo_tensor(i, v), ints(2, 30), rand(30))
_add("sparse_coo_tensor with size", lambda i, v: torch.sparse_coo_tensor(i, v, (100, 100)), ints(2, 30), rand(30))
_add(
    "sparse_coo_tensor, checked off",
    lambda i, v: torch.sparse_coo_tensor(i, v, (100, 100), check_invariants=False),
    ints(2, 30),
    rand(30),
)
_add(
    "sparse_coo_tensor of host data",
    lambda: torch.sparse_coo_tensor([[0, 1], [1, 0]], [1.0, 2.0], (2, 2), device="cuda"),
)
_add(
    "sparse_csr_tensor of host data",
    lambda: torch.sparse_csr_tensor(
        torch.tensor([0, 1, 2]), torch.tensor([1, 0]), torch.tensor([1.0, 2]), (2, 2), device="cuda"
    ),
)
_add("repr of COO", lambda s: repr(s), coo(50, 50, 30))
_add("repr of CSR", lambda s: repr(s), csr(20, 20))
_add("coalesce of many", lambda s: s.coalesce(), coo(100, 100, 50_000))
_add("coalesce of coalesced", lambda s: s.coalesce(), coo(50, 50, 30, coalesced=True))
_add("sparse.mm of uncoalesced", lambda s, x: torch.sparse.mm(s, x), coo(50, 50, 300), rand(50, 8))
_add("sparse.mm of coalesced", lambda s, x: torch.sparse.mm(s, x), coo(50, 50, 300, coalesced=True), rand(50, 8))
_add("sparse.mm of two", lambda s: torch.sparse.mm(s, s), coo(50, 50, 300, coalesced=True))
_add(
    "sparse.mm backward",
    lambda s, x: _each_backward(torch.sparse.mm(s, x)),
    coo(50, 50, 300, coalesced=True),
    rand(50, 8, grad=True),
)
_add("CSR @ dense", lambda s, x: s @ x, csr(50, 50), rand(50, 8))
_add("CSR @ vector", lambda s, x: s @ x, csr(50, 50), rand(50))
_add("CSR + CSR", lambda s: s + s, csr(50, 50))
_add("CSR to dense", lambda s: s.to_dense(), csr(50, 50))
_add("CSR to COO", lambda s: s.to_sparse_coo(), csr(50, 50))
_add("COO to CSR, coalesced", lambda s: s.to_sparse_csr(), coo(50, 50, 300, coalesced=True))
_add("COO to CSR, uncoalesced", lambda s: s.to_sparse_csr(), coo(50, 50, 300))
_add("dense to BSR", lambda x: x.to_sparse_bsr((4, 4)), rand(16, 16))
_add("dense to CSC", lambda x: x.to_sparse_csc(), rand(16, 16))
_add("COO + COO", lambda s: s + s, coo(50, 50, 30))
_add("COO * COO", lambda s: s * s, coo(50, 50, 30, coalesced=True))
_add("COO * dense", lambda s, x: s * x, coo(50, 50, 30, coalesced=True), rand(50, 50))
_add("COO * 2", lambda s: s * 2, coo(50, 50, 30))
_add("COO.sum()", lambda s: torch.sparse.sum(s), coo(50, 50, 30))
_add("COO.sum(dim)", lambda s: torch.sparse.sum(s, dim=0), coo(50, 50, 30))
_add("sparse.softmax", lambda s: torch.sparse.softmax(s, dim=1), coo(50, 50, 30, coalesced=True))
_add("sparse.log_softmax dim 0", lambda s: torch.sparse.log_softmax(s, dim=0), coo(50, 50, 30, coalesced=True))
_add("sparse.addmm", lambda s, x: torch.sparse.addmm(x, s, x), coo(50, 50, 30, coalesced=True), rand(50, 50))
_add("COO.cpu()", lambda s: s.cpu(), coo(50, 50, 30))
_add("COO.to(cuda) from host", lambda s: s.to("cuda"), lambda: coo(50, 50, 30)().cpu())
_add("CSR.cpu()", lambda s: s.cpu(), csr(50, 50))
_add("COO indices and values", lambda s: (s.indices(), s.values(), s._nnz()), coo(50, 50, 30, coalesced=True))
_add("COO index_select", lambda s, i: s.index_select(0, i), coo(50, 50, 30, coalesced=True), ints(5, high=50))
_add("COO[3]", lambda s: s[3], coo(50, 50, 30, coalesced=True))
_add("COO.t().coalesce()", lambda s: s.t().coalesce(), coo(50, 50, 30, coalesced=True))
_add("sparse_mask", lambda x, s: x.sparse_mask(s), rand(50, 50), coo(50, 50, 30, coalesced=True))
_add("cat of COO", lambda s: torch.cat([s, s]), coo(50, 50, 30))
_add("to_sparse of 3 dims", lambda x: x.relu().to_sparse(), rand(8, 8, 8))
_add("to_sparse(1)", lambda x: x.to_sparse(1), rand(8, 8))
_add("sampled_addmm", lambda s, x: torch.sparse.sampled_addmm(s, x, x), csr(20, 20), rand(20, 20))
_add("sparse clone, detach, pickle", lambda s: pickle.dumps(s.clone().detach()), coo(50, 50, 30))
_add("nested_tensor of host data", lambda: torch.nested.nested_tensor([[1.0, 2.0], [3.0]], device="cuda"))
_add(
    "nested_tensor jagged of many",
    lambda *x: torch.nested.nested_tensor(list(x), layout=torch.jagged),
    rand(3, 8),
    rand(500, 8),
    rand(70, 8),
)
_add(
    "nested_tensor_from_jagged",
    lambda v: torch.nested.nested_tensor_from_jagged(v, torch.tensor([0, 3, 10], device="cuda")),
    rand(10, 8),
)
_add("as_nested_tensor", lambda *x: torch.nested.as_nested_tensor(list(x), layout=torch.jagged), rand(3, 8), rand(5, 8))
_add(
    "narrow to jagged",
    lambda x, i: torch.nested.narrow(x, 1, torch.zeros_like(i), i, layout=torch.jagged),
    rand(4, 9, 8),
    lambda: torch.tensor([3, 5, 2, 9]).cuda(),
)
_add("jagged unbind", lambda n: n.unbind(), jagged(3, 500, 70))
_add("jagged to_padded_tensor", lambda n: n.to_padded_tensor(0.0), jagged(3, 500, 70))
_add("jagged to_padded_tensor, size", lambda n: torch.nested.to_padded_tensor(n, 0.0, (3, 600, 8)), jagged(3, 500, 70))
_add("jagged * 2 + 1", lambda n: n * 2 + 1, jagged(3, 500, 70))
_add("jagged + jagged", lambda n: n + n, jagged(3, 500, 70))
_add("jagged sum(dim=1)", lambda n: n.sum(dim=1), jagged(3, 500, 70))
_add("jagged mean(dim=1)", lambda n: n.mean(dim=1), jagged(3, 500, 70))
_add("jagged softmax", lambda n: n.softmax(-1), jagged(3, 500, 70))
_add("jagged linear", lambda n, w: F.linear(n, w), jagged(3, 500, 70), rand(4, 8))
_add("jagged layer_norm", lambda n: F.layer_norm(n, (8,)), jagged(3, 500, 70))
_add("jagged attention", lambda n: _jagged_attention(n), jagged(3, 50, 7))
_add("jagged backward", lambda n: _each_backward(n.requires_grad_().values() * 2), jagged(3, 50, 7))
_add("jagged repr", lambda n: repr(n), jagged(3, 5))
_add("jagged offsets to list", lambda n: n.offsets().tolist(), jagged(3, 5))
_add("jagged cpu()", lambda n: n.cpu(), jagged(3, 5))
_add("jagged chunk", lambda n: n.chunk(2, -1), jagged(3, 5))
_add("strided nested unbind", lambda n: n.unbind(), strided_nested(3, 5))
_add("strided nested padded", lambda n: n.to_padded_tensor(0.0), strided_nested(3, 500, 70))
_add("strided nested * 2", lambda n: n * 2, strided_nested(3, 5))
_add("strided nested linear", lambda n, w: F.linear(n, w), strided_nested(3, 5), rand(4, 8))
_add("strided nested bmm", lambda n: torch.bmm(n, n.transpose(1, 2)), strided_nested(3, 5, 70))
_add("strided nested size", lambda n: (n.size(0), n._nested_tensor_size()), strided_nested(3, 5))
_add(
    "nested from mask, left aligned",
    lambda x, m: torch._nested_tensor_from_mask(x, m),
    rand(2, 4, 8),
    lambda: torch.tensor([[True, True, True, False], [True, False, False, False]]).cuda(),
)
_add(
    "is mask left aligned",
    lambda x, m: torch._nested_tensor_from_mask_left_aligned(x, m),
    rand(2, 4, 8),
    lambda: torch.tensor([[True, True, True, False], [True, False, False, False]]).cuda(),
)
_add("quantize_per_tensor", lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), rand(300))
_add(
    "quantize_per_tensor by tensors",
    lambda x, s, z: torch.quantize_per_tensor(x, s, z, torch.qint8),
    rand(300),
    num(0.1),
    num(0),
)
_add(
    "quantize_per_channel",
    lambda x, s, z: torch.quantize_per_channel(x, s.abs() + 0.1, z, 0, torch.qint8),
    rand(8, 30),
    rand(8),
    ints(8, high=1),
)
_add("quantize_per_tensor_dynamic", lambda x: torch.quantize_per_tensor_dynamic(x, torch.qint8, False), rand(300))
_add("dequantize", lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8).dequantize(), rand(300))
_add("fake_quantize per tensor", lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255), rand(300))
_add(
    "fake_quantize by tensors",
    lambda x, s, z: torch.fake_quantize_per_tensor_affine(x, s, z.int(), 0, 255),
    rand(300),
    num(0.1),
    num(0),
)
_add(
    "fake_quantize per channel",
    lambda x, s, z: torch.fake_quantize_per_channel_affine(x, s.abs() + 0.1, z.int(), 0, 0, 255),
    rand(8, 30),
    rand(8),
    ints(8, high=1),
)


def _jagged_attention(n: torch.Tensor) -> torch.Tensor:
    heads = n.unflatten(-1, (2, 4)).transpose(1, 2)
    return F.scaled_dot_product_attention(heads, heads, heads)


# Linear algebra, transforms, functions of functions.
for _norm in (0.01, 0.2, 0.9, 2.0, 10.0):
    _add(
        f"matrix_exp, norm {_norm}",
        lambda x, n=_norm: torch.matrix_exp(x / torch.linalg.matrix_norm(x) * n),
        rand(16, 16),
    )
_add("matrix_exp of a batch", lambda x: torch.matrix_exp(x), rand(8, 16, 16))
_add("matrix_power", lambda x: (torch.matrix_power(x, 5), torch.matrix_power(x, -1)), spd(32))
for _size in (8, 64, 512, 1024):
    _add(f"eigh of {_size}", lambda x: torch.linalg.eigh(x), spd(_size))
    _add(f"svd of {_size}", lambda x: torch.linalg.svd(x), spd(_size))
    _add(f"cholesky of {_size}", lambda x: torch.linalg.cholesky(x), spd(_size))
    _add(f"solve of {_size}", lambda x: torch.linalg.solve(x, x), spd(_size))
    _add(f"qr of {_size}", lambda x: torch.linalg.qr(x), spd(_size))
_add("eig", lambda x: torch.linalg.eig(x), rand(32, 32))
_add("eigvals backward", lambda x: _each_backward(torch.linalg.eigvals(x).abs()), rand(16, 16, grad=True))
_add("eigh backward", lambda x: _each_backward(torch.linalg.eigh(x)[0]), lambda: spd(32)().requires_grad_())
_add("svd backward", lambda x: _each_backward(torch.linalg.svdvals(x)), rand(32, 16, grad=True))
_add("batched small inverse", lambda x: torch.linalg.inv(x + 10 * torch.eye(4, device="cuda")), rand(200, 4, 4))
_add("batched small cholesky", lambda x: torch.linalg.cholesky(x.expand(64, 8, 8)), spd(8))
_add("batched svd", lambda x: torch.linalg.svd(x), rand(20, 16, 16))
_add("batched eigh", lambda x: torch.linalg.eigh(x.expand(20, 16, 16)), spd(16))
_add("lobpcg", lambda x: torch.lobpcg(x, k=2, niter=3), spd(64))
_add("lstsq, gels", lambda x: torch.linalg.lstsq(x, x[:, :2], driver="gels"), rand(64, 8))
_add("slogdet and logdet", lambda x: (torch.linalg.slogdet(x), torch.logdet(x)), spd(64))
_add("cond and matrix norm 2", lambda x: (torch.linalg.cond(x), torch.linalg.matrix_norm(x, 2)), spd(32))
_add("multi_dot and chain", lambda x: torch.linalg.multi_dot([x, x, x]), rand(64, 64))
_add("ldl_factor and ldl_solve", lambda x: torch.linalg.ldl_solve(*torch.linalg.ldl_factor(x), x), spd(32))
_add("lu and lu_unpack", lambda x: torch.linalg.lu(x), spd(32))
_add("householder_product", lambda x: torch.linalg.householder_product(*torch.geqrf(x)), rand(16, 8))
_add("cholesky_inverse", lambda x: torch.cholesky_inverse(torch.linalg.cholesky(x)), spd(32))
_add("solve of double", lambda x: torch.linalg.solve(x, x[:, 0]), spd(100, torch.float64))
_add("inv with check_errors off", lambda x: torch.linalg.inv_ex(x, check_errors=False), spd(32))
_add("cholesky_ex with check_errors", lambda x: torch.linalg.cholesky_ex(x, check_errors=True), spd(32))
_add(
    "vander and tensorinv",
    lambda x: (torch.linalg.vander(x[:4]), torch.linalg.tensorinv(spd(16)().view(4, 4, 16), ind=2)),
    rand(8),
)
_add("svd_lowrank", lambda x: torch.svd_lowrank(x, q=3), rand(64, 32))
_add("cdist, many", lambda x: torch.cdist(x, x), rand(100, 16))
_add("cdist p=1 backward", lambda x: _each_backward(torch.cdist(x, x[:8], p=1)), rand(100, 16, grad=True))
_add("pdist", lambda x: F.pdist(x), rand(100, 16))
_add("cov and corrcoef", lambda x: (torch.cov(x), torch.corrcoef(x)), rand(8, 300))
_add("einsum of three", lambda x: torch.einsum("ij,jk,kl->il", x, x, x), rand(64, 64))
_add("einsum with a diagonal", lambda x: torch.einsum("ii->i", x), rand(64, 64))
_add("tensordot and kron", lambda x: (torch.tensordot(x, x, 1), torch.kron(x, x)), rand(16, 16))
_add("histogramdd", lambda x: torch.histogramdd(x.cpu(), [4, 4]), rand(100, 2))
_add("histogram on host, of gpu", lambda x: torch.histogram(x.cpu(), 10), rand(100))
_add("fft2, ifftn, fftshift", lambda x: torch.fft.fftshift(torch.fft.ifftn(torch.fft.fft2(x))), rand(4, 64, 64))
_add(
    "stft and istft",
    lambda x: torch.istft(
        torch.stft(x, 64, window=torch.hann_window(64, device="cuda"), return_complex=True),
        64,
        window=torch.hann_window(64, device="cuda"),
    ),
    rand(2, 2000),
)
_add("stft without a window", lambda x: torch.stft(x, 64, return_complex=True), rand(2, 2000))
_add("conv1d as correlation", lambda x: F.conv1d(x[None], x[None, :, :5].flip(-1)), rand(3, 300))
_add("gradient and trapezoid", lambda x: (torch.gradient(x), torch.trapezoid(x)), rand(300))
_add("hessian of functional", lambda x: torch.autograd.functional.hessian(lambda v: (v**3).sum(), x), rand(8))
_add("func.hessian", lambda x: torch.func.hessian(lambda v: (v**3).sum())(x), rand(8))
_add("func.jacrev and jacfwd", lambda x: (torch.func.jacrev(torch.sin)(x), torch.func.jacfwd(torch.sin)(x)), rand(8))
_add("vmap dropout", lambda x: torch.vmap(lambda r: F.dropout(r), randomness="different")(x), rand(8, 30))
_add(
    "vmap randn, same",
    lambda x: torch.vmap(lambda r: r + torch.randn(30, device="cuda"), randomness="same")(x),
    rand(8, 30),
)
_add("vmap of indexing", lambda x, i: torch.vmap(lambda r, j: r[j])(x, i), rand(8, 100), ints(8, 5))
_add("vmap of where", lambda x: torch.vmap(lambda r: torch.where(r > 0, r, 0.0).sum())(x), rand(8, 30))
_add("vmap of item", lambda x: _tried(lambda: torch.vmap(lambda r: r.sum().item())(x)), rand(8, 30))
_add(
    "per-sample gradients",
    lambda x, w: torch.vmap(torch.func.grad(lambda p, r: (r @ p).sum()), (None, 0))(w, x),
    rand(8, 30),
    rand(30, 4),
)
_add("prod backward", lambda x: _each_backward(x.prod()), rand(300, grad=True))
_add("prod(dim) backward, with zero", lambda x: _each_backward(_set(x * 1, 3, 0.0).prod(0)), rand(30, 8, grad=True))
_add("cumprod backward", lambda x: _each_backward(x.cumprod(0)), rand(300, grad=True))
_add("cumprod(dim 1) backward", lambda x: _each_backward(x.cumprod(1)), rand(30, 30, grad=True))
_add("sort backward", lambda x: _each_backward(x.sort()[0]), rand(5000, grad=True))
_add("topk backward", lambda x: _each_backward(x.topk(5)[0]), rand(8, 500, grad=True))
_add(
    "unfold and fold backward", lambda x: _each_backward(F.fold(F.unfold(x, 3), (8, 8), 3)), rand(2, 3, 8, 8, grad=True)
)
_add("max_unpool2d", lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), rand(2, 3, 8, 8))

# Networks.
_add(
    "cross_entropy, weights, smoothing",
    lambda x, y: F.cross_entropy(x, y, weight=torch.ones(100, device="cuda"), label_smoothing=0.1),
    rand(64, 100),
    ints(64),
)
_add(
    "cross_entropy backward, half",
    lambda x, y: _each_backward(F.cross_entropy(x, y)),
    rand(64, 100, dtype=torch.half, grad=True),
    ints(64),
)
_add("cross_entropy of pixels", lambda x, y: F.cross_entropy(x, y), rand(2, 5, 32, 32), ints(2, 32, 32, high=5))
_add(
    "multi_margin and multilabel",
    lambda x, y: (F.multi_margin_loss(x, y), F.multilabel_soft_margin_loss(x, x.sigmoid())),
    rand(64, 100),
    ints(64),
)
_add(
    "multilabel_margin_loss backward",
    lambda x: _each_backward(F.multilabel_margin_loss(x, torch.zeros(8, 10, dtype=torch.long, device="cuda"))),
    rand(8, 10, grad=True),
)
_add("gaussian_nll_loss", lambda x: F.gaussian_nll_loss(x, x, x.abs() + 0.1), rand(300))
_add("kl_div, batchmean", lambda x: F.kl_div(x.log_softmax(-1), x.softmax(-1), reduction="batchmean"), rand(8, 30))
_add(
    "cosine_embedding, triplet",
    lambda x: (F.cosine_embedding_loss(x, x.flip(0), torch.ones(8, device="cuda")), F.triplet_margin_loss(x, x, x)),
    rand(8, 30),
)
_add(
    "ctc_loss, gpu lengths",
    lambda x, y: F.ctc_loss(
        x.log_softmax(-1), y + 1, torch.full((4,), 50, device="cuda"), torch.full((4,), 5, device="cuda")
    ),
    rand(50, 4, 20),
    ints(4, 5, high=19),
)
_add(
    "ctc_loss, int32 host, cuDNN",
    lambda x, y: F.ctc_loss(
        x.log_softmax(-1),
        (y.flatten() + 1).int().cpu(),
        torch.full((4,), 50, dtype=torch.int32),
        torch.full((4,), 5, dtype=torch.int32),
    ),
    rand(50, 4, 20),
    ints(4, 5, high=19),
)
_add(
    "ctc_loss backward, lists",
    lambda x, y: _each_backward(F.ctc_loss(x.log_softmax(-1), y + 1, [50] * 4, [5] * 4)),
    rand(50, 4, 20, grad=True),
    ints(4, 5, high=19),
)
_add(
    "interpolate bilinear, factors",
    lambda x: F.interpolate(x, scale_factor=(1.5, 2.0), mode="bilinear"),
    rand(2, 3, 16, 16),
)
_add(
    "interpolate by tensor factor",
    lambda x, s: F.interpolate(x, scale_factor=s.item(), mode="nearest"),
    rand(2, 3, 16, 16),
    num(2.0),
)
_add("interpolate, size of gpu scalars", lambda x, s: F.interpolate(x, size=(s, s)), rand(2, 3, 16, 16), num(20))
_add(
    "interpolate backward, antialias",
    lambda x: _each_backward(F.interpolate(x, size=7, mode="bilinear", antialias=True)),
    rand(2, 3, 16, 16, grad=True),
)
_add(
    "grid_sample, affine_grid",
    lambda x: F.grid_sample(x, F.affine_grid(torch.eye(2, 3, device="cuda")[None].repeat(2, 1, 1), (2, 3, 8, 8))),
    rand(2, 3, 16, 16),
)
_add(
    "conv2d, channels_last",
    lambda x, w: F.conv2d(x.to(memory_format=torch.channels_last), w),
    rand(4, 8, 32, 32),
    rand(16, 8, 3, 3),
)
_add(
    "conv2d backward, half",
    lambda x, w: _each_backward(F.conv2d(x, w)),
    rand(4, 8, 32, 32, dtype=torch.half),
    rand(16, 8, 3, 3, dtype=torch.half, grad=True),
)
_add("conv_transpose3d", lambda x, w: F.conv_transpose3d(x, w), rand(2, 4, 8, 8, 8), rand(4, 4, 3, 3, 3))
_add(
    "adaptive_avg_pool, lp_pool",
    lambda x: (F.adaptive_avg_pool2d(x, 3), F.lp_pool2d(x.abs(), 2, 2)),
    rand(2, 3, 16, 16),
)
_add("fractional_max_pool", lambda x: F.fractional_max_pool2d(x, 2, output_ratio=(0.5, 0.5)), rand(2, 3, 16, 16))
_add("batch_norm training, sync count", lambda m, x: m(x), module(lambda: nn.BatchNorm2d(8)), rand(4, 8, 16, 16))
_add("LSTM forward", lambda m, x: m(x), module(lambda: nn.LSTM(16, 32, 2)), rand(50, 4, 16))
_add("GRU backward", lambda m, x: _each_backward(m(x)[0]), module(lambda: nn.GRU(16, 32)), rand(50, 4, 16))
_add(
    "pack_padded, gpu lengths",
    lambda x: _tried(lambda: nn.utils.rnn.pack_padded_sequence(x, torch.tensor([9, 5], device="cuda"), True)),
    rand(2, 9, 4),
)
_add(
    "pack_padded, unsorted",
    lambda x: nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 9]), True, enforce_sorted=False),
    rand(2, 9, 4),
)
_add(
    "pad_packed_sequence",
    lambda x: nn.utils.rnn.pad_packed_sequence(nn.utils.rnn.pack_padded_sequence(x, [9, 5], True), True),
    rand(2, 9, 4),
)
_add(
    "LSTM of packed",
    lambda m, x: m(nn.utils.rnn.pack_padded_sequence(x, [9, 5])),
    module(lambda: nn.LSTM(4, 8)),
    rand(9, 2, 4),
)
_add(
    "unpad_sequence", lambda x: nn.utils.rnn.unpad_sequence(x, torch.tensor([9, 5], device="cuda"), True), rand(2, 9, 4)
)
_add(
    "TransformerEncoder, fast path, padding",
    lambda m, x, p: _quietly(lambda: m(x, src_key_padding_mask=p)),
    module(lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2).eval()),
    rand(3, 8, 16),
    lambda: torch.arange(8, device="cuda")[None] >= torch.tensor([8, 5, 3], device="cuda")[:, None],
)
_add(
    "TransformerEncoder, train, padding",
    lambda m, x, p: m(x, src_key_padding_mask=p),
    module(lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 1)),
    rand(3, 8, 16),
    lambda: torch.arange(8, device="cuda")[None] >= torch.tensor([8, 5, 3], device="cuda")[:, None],
)
_add(
    "Transformer, causal",
    lambda m, x: m(x, x, tgt_is_causal=True, tgt_mask=nn.Transformer.generate_square_subsequent_mask(8, device="cuda")),
    module(lambda: nn.Transformer(16, 2, 1, 1, 32)),
    rand(8, 3, 16),
)
_add(
    "MultiheadAttention eval, mask",
    lambda m, x: _quietly(lambda: m(x, x, x, key_padding_mask=torch.zeros(3, 8, dtype=torch.bool, device="cuda"))),
    module(lambda: nn.MultiheadAttention(16, 2, batch_first=True).eval()),
    rand(3, 8, 16),
)
_add(
    "attention, half, causal",
    lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    rand(2, 4, 128, 64, dtype=torch.half),
)
_add(
    "attention, mask, dropout",
    lambda x: F.scaled_dot_product_attention(
        x, x, x, torch.ones(128, 128, dtype=torch.bool, device="cuda").tril(), 0.1
    ),
    rand(2, 4, 128, 64, dtype=torch.half),
)
_add(
    "attention backward, half",
    lambda x: _each_backward(F.scaled_dot_product_attention(x, x, x)),
    rand(2, 4, 128, 64, dtype=torch.half, grad=True),
)
_add(
    "AdaptiveLogSoftmax",
    lambda m, x, y: m(x, y).loss,
    module(lambda: nn.AdaptiveLogSoftmaxWithLoss(16, 100, [10, 50])),
    rand(32, 16),
    ints(32),
)
_add("gumbel_softmax, hard", lambda x: F.gumbel_softmax(x, hard=True), rand(8, 30))
_add(
    "spectral_norm, weight_norm",
    lambda m, x: m(x),
    module(lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))),
    rand(4, 8),
)
_add("SyncBatchNorm in eval", lambda m, x: m(x), module(lambda: nn.SyncBatchNorm(8).eval()), rand(4, 8, 4))
_add("group_norm, instance_norm", lambda x: (F.group_norm(x, 2), F.instance_norm(x)), rand(4, 8, 16, 16))
_add("prune l1", lambda m: prune.l1_unstructured(m, "weight", 0.3), module(lambda: nn.Linear(8, 8)))
_add("init.orthogonal_", lambda x: nn.init.orthogonal_(x), rand(32, 32))
_add("init.trunc_normal_, sparse_", lambda x: (nn.init.trunc_normal_(x), nn.init.sparse_(x, 0.1)), rand(32, 32))


def _quietly(act: Callable[[], object]) -> object:
    with torch.no_grad():
        return act()


def _deterministic(act: Callable[[], object]) -> object:
    torch.use_deterministic_algorithms(True)
    try:
        return act()
    finally:
        torch.use_deterministic_algorithms(False)


# Training utilities.
def _graded() -> Iterator[torch.Tensor]:
    for size in (300, 40):
        leaf = _made("float", size).to("cuda", copy=True).requires_grad_()
        torch.autograd.backward((leaf * leaf).sum())
        yield leaf


def graded() -> list[torch.Tensor]:
    return list(_graded())


_add("clip_grad_norm_, inf norm", lambda p: nn.utils.clip_grad_norm_(p, 1.0, norm_type=float("inf")), graded)
_add("clip_grad_norm_, error_if_nonfinite", lambda p: nn.utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True), graded)
_add("clip_grad_norm_, foreach off", lambda p: nn.utils.clip_grad_norm_(p, 1.0, foreach=False), graded)
_add("clip_grad_norm_ > limit", lambda p: nn.utils.clip_grad_norm_(p, 1.0) > 10, graded)
_add("if clip_grad_norm_ > limit", lambda p: 1 if nn.utils.clip_grad_norm_(p, 1.0) > 10 else 0, graded)
_add("grad norms, item each", lambda p: sum(each.grad.norm().item() ** 2 for each in p) ** 0.5, graded)
_add("EMA with lerp_", lambda p: [each.data.lerp_(each.grad, 0.1) for each in p], graded)
_add("EMA with foreach", lambda p: torch._foreach_lerp_([x.data for x in p], [x.grad for x in p], 0.1), graded)
_add("foreach_norm, stack", lambda p: torch.stack(torch._foreach_norm([x.grad for x in p])).norm(), graded)
_add("foreach_mul_ by a gpu scalar", lambda p, s: torch._foreach_mul_([x.grad for x in p], s), graded, num(0.5))
_add("foreach_add_ by a list", lambda p: torch._foreach_add_([x.grad for x in p], [0.5, 0.1]), graded)
_add("foreach_copy_ from host", lambda p: torch._foreach_copy_([x.grad for x in p], [x.grad.cpu() for x in p]), graded)
for _kind in ("AdamW", "RMSprop", "Adagrad", "NAdam", "RAdam", "Adamax", "Adadelta", "ASGD", "Rprop", "Adafactor"):
    _add(f"{_kind} two steps", lambda p, k=_kind: _steps(getattr(torch.optim, k)(p), 2), graded)
_add("SGD momentum, weight decay", lambda p: _steps(torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1), 2), graded)
_add(
    "Adam, lr as gpu tensor",
    lambda p: _steps(torch.optim.Adam(p, lr=torch.tensor(1e-3, device="cuda"), capturable=True), 2),
    graded,
)
_add("Adam, lr as host tensor", lambda p: _steps(torch.optim.Adam(p, lr=torch.tensor(1e-3)), 2), graded)
_add("Adam, fused, amsgrad", lambda p: _steps(torch.optim.Adam(p, fused=True, amsgrad=True), 2), graded)
_add("Adam, differentiable off, foreach", lambda p: _steps(torch.optim.Adam(p, foreach=True), 2), graded)
_add("LBFGS step", lambda p: torch.optim.LBFGS(p, max_iter=3).step(lambda: _loss_of(p)), graded)
_add("SparseAdam step", lambda w, i: _sparse_step(w, i), rand(100, 8, grad=True), ints(30))
_add("GradScaler, unscale_, step", lambda p: _scaled(p), graded)
_add("GradScaler, fused Adam", lambda p: _scaled(p, fused=True), graded)
_add("GradScaler.get_scale", lambda s: s.get_scale(), lambda: _scaler())
_add("GradScaler.state_dict", lambda s: s.state_dict(), lambda: _scaler())
_add("OneCycleLR step", lambda p: _schedule(torch.optim.SGD(p, 0.1)), graded)
_add(
    "ReduceLROnPlateau step",
    lambda p, s: torch.optim.lr_scheduler.ReduceLROnPlateau(torch.optim.SGD(p, 0.1)).step(s),
    graded,
    num(1.0),
)
_add("autocast matmul", lambda x: _autocast(x), rand(64, 64))
_add(
    "checkpoint, with rng",
    lambda m, x: _each_backward(torch.utils.checkpoint.checkpoint(m, x, use_reentrant=False)),
    module(lambda: nn.Dropout(0.5)),
    rand(300, grad=True),
)
_add(
    "checkpoint, reentrant",
    lambda m, x: _each_backward(torch.utils.checkpoint.checkpoint(m, x, use_reentrant=True)),
    module(lambda: nn.Dropout(0.5)),
    rand(300, grad=True),
)
_add("detect_anomaly backward", lambda x: _anomaly(x), rand(300, grad=True))
_add(
    "grad of grad",
    lambda x: torch.autograd.grad(torch.autograd.grad((x**3).sum(), x, create_graph=True)[0].sum(), x),
    rand(300, grad=True),
)
_add("gradcheck", lambda x: torch.autograd.gradcheck(torch.sin, (x,)), rand(3, dtype=torch.float64, grad=True))
_add("backward(gradient=)", lambda x: (x * 2).backward(torch.ones(300, device="cuda")), rand(300, grad=True))
_add("backward with a hook that reads", lambda x: _hooked(x), rand(300, grad=True))
_add("zero_grad(set_to_none=False)", lambda p: torch.optim.SGD(p, 0.1).zero_grad(set_to_none=False), graded)
_add("retain_grad and read", lambda x: _retained(x), rand(300, grad=True))


def _steps(optimizer: torch.optim.Optimizer, count: int) -> None:
    for _ in range(count):
        optimizer.step()


def _loss_of(parameters: list[torch.Tensor]) -> torch.Tensor:
    for each in parameters:
        each.grad = None
    loss = torch.stack([(each * each).sum() for each in parameters]).sum()
    torch.autograd.backward(loss)
    return loss


def _sparse_step(weight: torch.Tensor, index: torch.Tensor) -> None:
    optimizer = torch.optim.SparseAdam([weight])
    _each_backward(F.embedding(index, weight, sparse=True))
    optimizer.step()


def _scaler() -> torch.amp.GradScaler:
    scaler = torch.amp.GradScaler("cuda")
    scaler.scale(torch.ones((), device="cuda"))
    return scaler


def _scaled(parameters: list[torch.Tensor], fused: bool = False) -> None:
    scaler = torch.amp.GradScaler("cuda")
    optimizer = torch.optim.Adam(parameters, fused=fused)
    torch.autograd.backward(scaler.scale((parameters[0] * 2).sum()))
    if not fused:
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()


def _schedule(optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()
    torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=4).step()


def _autocast(x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cuda", dtype=torch.bfloat16):
        return (x @ x).float().softmax(-1)


def _anomaly(x: torch.Tensor) -> None:
    with torch.autograd.detect_anomaly():
        _each_backward((x.abs() + 1).sqrt())


def _hooked(x: torch.Tensor) -> None:
    y = x * 2
    y.register_hook(lambda grad: print(grad.norm().item()))
    _each_backward(y)


def _retained(x: torch.Tensor) -> float:
    y = x * 2
    y.retain_grad()
    _each_backward(y * y)
    assert y.grad is not None
    return y.grad.max().item()


# Randomness and distributions.
D = torch.distributions
_add("Generator.manual_seed, get_state", lambda: torch.Generator("cuda").manual_seed(3).get_state())
_add("Generator.set_state", lambda: torch.Generator("cuda").set_state(torch.Generator("cuda").get_state()))
_add("randn by a generator", lambda g: torch.randn(300, generator=g, device="cuda"), lambda: torch.Generator("cuda"))
_add("randn by a host generator, to cuda", lambda: torch.randn(300, generator=torch.manual_seed(0)).to("cuda"))
_add("cuda.manual_seed_all, seed", lambda: (torch.cuda.manual_seed_all(3), torch.cuda.initial_seed()))
_add("cuda rng state, set", lambda: torch.cuda.set_rng_state(torch.cuda.get_rng_state()))
_add("fork_rng", lambda: _forked())
_add("multinomial of many", lambda x: torch.multinomial(x.abs(), 100), rand(5000))
_add("multinomial of half, replacement", lambda x: torch.multinomial(x.abs(), 10, True), rand(4, 500, dtype=torch.half))
_add("bernoulli of probabilities", lambda x: torch.bernoulli(x.sigmoid()), rand(5000))
_add(
    "poisson, binomial", lambda x: (torch.poisson(x.abs()), torch.binomial(x.abs().round() + 1, x.sigmoid())), rand(300)
)
_add("normal(mean, gpu std)", lambda x, s: torch.normal(x, s), rand(300), num(2.0))
_add("randint to a gpu scalar", lambda n: torch.randint(0, n, (4,), device="cuda"), num(9))
_add("randint_like, random_", lambda x: (torch.randint_like(x, 9), x.random_(0, 9)), ints(300))
_add("exponential_, geometric_, cauchy_", lambda x: (x.exponential_(), x.geometric_(0.5), x.cauchy_()), rand(300))
_add("Categorical(probs), validated", lambda x: D.Categorical(probs=x.softmax(-1)), rand(8, 30))
_add(
    "Categorical.log_prob, validated",
    lambda x: D.Categorical(logits=x).log_prob(torch.zeros(8, device="cuda")),
    rand(8, 30),
)
_add("Categorical, sample, entropy, off", lambda x: D.Categorical(logits=x, validate_args=False).entropy(), rand(8, 30))
_add("Bernoulli(logits).log_prob", lambda x: D.Bernoulli(logits=x).log_prob(torch.ones(300, device="cuda")), rand(300))
_add("Normal(0., 1.) of numbers", lambda: D.Normal(0.0, 1.0).sample((4,)).to("cuda"))
_add("Normal(gpu scalar, number)", lambda s: D.Normal(s, 1.0).rsample((4,)), num(1.0))
_add("MultivariateNormal", lambda x: D.MultivariateNormal(x[0], covariance_matrix=x).sample(), spd(8))
_add(
    "MultivariateNormal(scale_tril)",
    lambda x: D.MultivariateNormal(x[0], scale_tril=torch.linalg.cholesky(x)).log_prob(x[1]),
    spd(8),
)
_add(
    "Gamma, Beta, Dirichlet",
    lambda x: (
        [each(x.abs() + 1, x.abs() + 1).sample() for each in (D.Gamma, D.Beta)] + [D.Dirichlet(x.abs() + 1).sample()]
    ),
    rand(30),
)
_add("Uniform.log_prob", lambda x: D.Uniform(torch.zeros(300, device="cuda") - 9, 9.0).log_prob(x), rand(300))
_add("kl_divergence of normals", lambda x: D.kl_divergence(D.Normal(x, 1.0), D.Normal(0.0, 1.0)), rand(300))
_add("OneHotCategorical.sample", lambda x: D.OneHotCategorical(logits=x).sample(), rand(8, 30))
_add("Multinomial(total)", lambda x: D.Multinomial(10, logits=x).sample(), rand(30))
_add(
    "Multinomial.log_prob",
    lambda x: D.Multinomial(3, logits=x).log_prob(torch.tensor([3.0] + [0.0] * 29, device="cuda")),
    rand(30),
)
_add("Wishart.rsample", lambda x: D.Wishart(torch.tensor(10.0, device="cuda"), x).rsample(), spd(4))
_add("LKJCholesky.sample", lambda s: D.LKJCholesky(3, s).sample(), num(1.0))
_add("VonMises.sample", lambda x: D.VonMises(x, x.abs() + 1).sample(), rand(30))
_add(
    "deterministic index_put_",
    lambda x, i: _deterministic(lambda: x.index_put_((i,), torch.ones(50, device="cuda"))),
    rand(100),
    ints(50),
)
_add(
    "deterministic scatter",
    lambda x, i: _deterministic(lambda: x.scatter(0, i, torch.ones(50, device="cuda"))),
    rand(100),
    ints(50),
)
_add(
    "deterministic index_add_",
    lambda x, i: _deterministic(lambda: x.index_add_(0, i, torch.ones(50, device="cuda"))),
    rand(100),
    ints(50),
)
_add(
    "deterministic gather backward",
    lambda x, i: _deterministic(lambda: _each_backward(x.gather(0, i))),
    rand(100, grad=True),
    ints(50),
)
_add("deterministic empty", lambda: _deterministic(lambda: torch.empty(300, device="cuda")))
_add("deterministic x[mask] = 1", lambda x, m: _deterministic(lambda: _set(x, m, 1.0)), rand(300), mask(300))
_add(
    "deterministic index_copy_",
    lambda x, i: _deterministic(lambda: x.index_copy_(0, i, torch.ones(50, device="cuda"))),
    rand(100),
    ints(50),
)
_add(
    "deterministic index_select backward",
    lambda x, i: _deterministic(lambda: _each_backward(x.index_select(0, i))),
    rand(100, grad=True),
    ints(50),
)


def _forked() -> None:
    with torch.random.fork_rng(devices=[0]):
        torch.manual_seed(1)


# Streams, events, graphs, memory.
_add("Event(blocking=True).synchronize", lambda: _blocking())
_add("stream context, then item", lambda x: _other_stream(x), rand(300))
_add("ExternalStream", lambda: torch.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream).synchronize())
_add("default_stream().synchronize()", lambda: torch.cuda.default_stream().synchronize())
_add("memory_summary", lambda: torch.cuda.memory_summary())
_add("memory_stats, reset_peak", lambda: (torch.cuda.memory_stats(), torch.cuda.reset_peak_memory_stats()))
_add("CUDAGraph capture and replay", lambda x: _captured(x), rand(300))
_add("torch.cuda._sleep, query", lambda: (torch.cuda._sleep(1000), torch.cuda.current_stream().query()))
_add("cuda.current_blas_handle", lambda: torch.cuda.current_blas_handle())
_add("synchronize(device)", lambda: torch.cuda.synchronize(torch.device("cuda", 0)))
_add("synchronize(0)", lambda: torch.cuda.synchronize(0))
_add("get_device_properties", lambda: (torch.cuda.get_device_properties(0).total_memory, torch.cuda.device_count()))
_add("nvtx ranges", lambda: (torch.cuda.nvtx.range_push("a"), torch.cuda.nvtx.range_pop()))
_add("resize_ and set_", lambda x: x.resize_(10).set_(torch.ones(3, device="cuda")), rand(300))
_add("del and allocate", lambda: [torch.empty(1 << 20, device="cuda") for _ in range(3)] and None)


def _blocking() -> None:
    event = torch.cuda.Event(blocking=True)
    event.record()
    event.synchronize()


def _other_stream(x: torch.Tensor) -> float:
    with torch.cuda.stream(torch.cuda.Stream()):
        return x.sum().item()


def _captured(x: torch.Tensor) -> torch.Tensor:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = x * 2
    graph.replay()
    return y


# torchvision, where it is installed.
def _vision() -> Any:
    import torchvision

    return torchvision.ops


for _size in (30, 3000):
    _add(f"torchvision nms of {_size}", lambda b, s: _vision().nms(b, s.abs(), 0.5), boxes(_size), rand(_size))
    _add(
        f"torchvision batched_nms of {_size}",
        lambda b, s, i: _vision().batched_nms(b, s.abs(), i, 0.5),
        boxes(_size),
        rand(_size),
        ints(_size, high=3),
    )
_add(
    "torchvision roi_align, list", lambda x, b: _vision().roi_align(x, [b[:3], b[3:]], 4), rand(2, 3, 32, 32), boxes(8)
)
_add(
    "torchvision roi_align backward",
    lambda x, b: _each_backward(_vision().roi_align(x, [b, b], 4)),
    rand(2, 3, 32, 32, grad=True),
    boxes(8),
)
_add("torchvision roi_pool", lambda x, b: _vision().roi_pool(x, [b, b], 4), rand(2, 3, 32, 32), boxes(8))
_add("torchvision ps_roi_align", lambda x, b: _vision().ps_roi_align(x, [b], 2), rand(1, 4, 32, 32), boxes(8))
_add(
    "torchvision deform_conv2d",
    lambda x, w: _vision().deform_conv2d(x, torch.zeros(1, 18, 30, 30, device="cuda"), w),
    rand(1, 3, 32, 32),
    rand(4, 3, 3, 3),
)
_add(
    "torchvision box_iou, box_convert",
    lambda b: _vision().box_iou(_vision().box_convert(b, "xyxy", "xyxy"), b),
    boxes(30),
)
_add(
    "torchvision masks_to_boxes",
    lambda m: _vision().masks_to_boxes(m),
    lambda: torch.ones(3, 16, 16, dtype=torch.bool, device="cuda"),
)
_add("torchvision remove_small_boxes", lambda b: b[_vision().remove_small_boxes(b, 3.0)], boxes(300))
_add(
    "torchvision sigmoid_focal_loss",
    lambda x: _vision().sigmoid_focal_loss(x, x.sigmoid(), reduction="mean"),
    rand(300),
)
_add("torchvision drop_block", lambda x: _vision().drop_block2d(x, 0.5, 3), rand(2, 3, 16, 16))
