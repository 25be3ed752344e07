"""The calls that a sweep tries at each size beside torch's samples: copies, indexing, sorts, optimizers."""

from __future__ import annotations

from collections.abc import Callable

import torch


def _gpu(size: int) -> torch.Tensor:
    return torch.randn(size).to("cuda")


def _ints(size: int, high: int = 1000) -> torch.Tensor:
    return torch.randint(0, high, (size,)).to("cuda")


def _mask(size: int) -> torch.Tensor:
    return (torch.rand(size) > 0.5).to("cuda")


def _rows(size: int) -> torch.Tensor:
    return _gpu(max(size // 8, 1) * 8).view(-1, 8)


def _coo(size: int) -> torch.Tensor:
    side = max(int(size**0.5), 2)
    return torch.sparse_coo_tensor(torch.randint(0, side, (2, size)), torch.randn(size), (side, side)).to("cuda")


def _jagged(size: int) -> torch.Tensor:
    rows = _rows(size)
    half = rows.shape[0] // 2
    return torch.nested.nested_tensor([rows[:half], rows[half:]], layout=torch.jagged)


def _stepped(make: Callable[[list[torch.Tensor]], torch.optim.Optimizer]) -> Callable[[int], Callable[[], object]]:
    def prepare(size: int) -> Callable[[], object]:
        leaf = _gpu(size).requires_grad_()
        leaf.grad = torch.ones_like(leaf)
        return make([leaf]).step

    return prepare


HAND: dict[str, Callable[[int], Callable[[], object]]] = {
    "to(cuda) pageable": lambda n: (lambda x: lambda: x.to("cuda"))(torch.randn(n)),
    "to(cuda, non_blocking) pageable": lambda n: (lambda x: lambda: x.to("cuda", non_blocking=True))(torch.randn(n)),
    "to(cuda) pinned": lambda n: (lambda x: lambda: x.to("cuda"))(torch.randn(n).pin_memory()),
    "to(cuda, non_blocking) pinned": lambda n: (lambda x: lambda: x.to("cuda", non_blocking=True))(
        torch.randn(n).pin_memory()
    ),
    "to(cuda, half) pageable": lambda n: (lambda x: lambda: x.to("cuda", torch.half))(torch.randn(n)),
    "to(cuda, half, non_blocking) pinned": lambda n: (lambda x: lambda: x.to("cuda", torch.half, non_blocking=True))(
        torch.randn(n).pin_memory()
    ),
    "to(cuda) of bool": lambda n: (lambda x: lambda: x.to("cuda"))(torch.rand(n) > 0.5),
    "cpu()": lambda n: (lambda x: lambda: x.cpu())(_gpu(n)),
    "cpu(), strided": lambda n: (lambda x: lambda: x[::2].cpu())(_gpu(2 * n)),
    "to(cpu, non_blocking)": lambda n: (lambda x: lambda: x.to("cpu", non_blocking=True))(_gpu(n)),
    "copy_ to pinned, non_blocking": lambda n: (lambda x, y: lambda: y.copy_(x, non_blocking=True))(
        _gpu(n), torch.empty(n).pin_memory()
    ),
    "copy_ to pageable, non_blocking": lambda n: (lambda x, y: lambda: y.copy_(x, non_blocking=True))(
        _gpu(n), torch.empty(n)
    ),
    "copy_ from strided pinned": lambda n: (lambda x, y: lambda: x.copy_(y, non_blocking=True))(
        _gpu(n), torch.randn(2 * n).pin_memory()[::2]
    ),
    "tolist": lambda n: (lambda x: x.tolist)(_gpu(min(n, 65_536))),
    "tensor(list)": lambda n: (lambda x: lambda: torch.tensor(x, device="cuda"))([0.5] * min(n, 65_536)),
    "x[mask]": lambda n: (lambda x, m: lambda: x[m])(_gpu(n), _mask(n)),
    "x[mask] = 0": lambda n: (lambda x, m: lambda: x.__setitem__(m, 0.0))(_gpu(n), _mask(n)),
    "x[mask] = tensor": lambda n: (lambda x, m: lambda: x.__setitem__(m, x[m]))(_gpu(n), _mask(n)),
    "x[rows]": lambda n: (lambda x, i: lambda: x[i])(_gpu(1000), _ints(n)),
    "x[host rows]": lambda n: (lambda x, i: lambda: x[i])(_gpu(1000), torch.randint(0, 1000, (n,))),
    "x[rows] = 1": lambda n: (lambda x, i: lambda: x.__setitem__(i, 1.0))(_gpu(1000), _ints(n)),
    "index_put_ accumulate": lambda n: (lambda x, i, v: lambda: x.index_put_((i,), v, accumulate=True))(
        _gpu(1000), _ints(n), _gpu(n)
    ),
    "scatter_add_": lambda n: (lambda x, i, v: lambda: x.scatter_add_(0, i, v))(_gpu(1000), _ints(n), _gpu(n)),
    "embedding backward": lambda n: (lambda w, i: lambda: torch.nn.functional.embedding(i, w).sum().backward())(
        _rows(8000).requires_grad_(), _ints(n)
    ),
    "unique(inverse, counts)": lambda n: (lambda x: lambda: torch.unique(x, return_inverse=True, return_counts=True))(
        _ints(n)
    ),
    "unique(dim)": lambda n: (lambda x: lambda: torch.unique(x, dim=0))(_ints(n, 4).view(-1, 1)),
    "unique of floats": lambda n: (lambda x: x.unique)(_gpu(n)),
    "sort of rows": lambda n: (lambda x: lambda: x.sort(-1))(_rows(n)),
    "sort of columns": lambda n: (lambda x: lambda: x.sort(0))(_rows(n)),
    "sort, stable, int": lambda n: (lambda x: lambda: x.sort(stable=True, descending=True))(_ints(n)),
    "mode": lambda n: (lambda x: x.mode)(_ints(n)),
    "randperm": lambda n: lambda: torch.randperm(n, device="cuda"),
    "multinomial": lambda n: (lambda x: lambda: torch.multinomial(x, 1))(_gpu(n).abs()),
    "multinomial, many": lambda n: (lambda x: lambda: torch.multinomial(x, min(n, 30)))(_gpu(n).abs()),
    "repeat_interleave(counts)": lambda n: (lambda x, r: lambda: x.repeat_interleave(r))(_gpu(n), _ints(n, 3)),
    "bincount": lambda n: (lambda x: x.bincount)(_ints(n)),
    "histc": lambda n: (lambda x: lambda: x.histc(50))(_gpu(n)),
    "one_hot": lambda n: (lambda x: lambda: torch.nn.functional.one_hot(x))(_ints(n, 20)),
    "coalesce": lambda n: (lambda s: s.coalesce)(_coo(n)),
    "COO @ dense": lambda n: (lambda s, x: lambda: s @ x)(_coo(n), _rows(8 * max(int(n**0.5), 2))),
    "COO to CSR": lambda n: (lambda s: s.to_sparse_csr)(_coo(n)),
    "to_sparse": lambda n: (lambda x: lambda: x.relu().to_sparse())(_rows(n)),
    "to_sparse_csr": lambda n: (lambda x: lambda: x.relu().to_sparse_csr())(_rows(n)),
    "jagged unbind": lambda n: (lambda x: x.unbind)(_jagged(n)),
    "jagged padded": lambda n: (lambda x: lambda: x.to_padded_tensor(0.0))(_jagged(n)),
    "nested_tensor": lambda n: (lambda x: lambda: torch.nested.nested_tensor([x, x], layout=torch.jagged))(_rows(n)),
    "equal": lambda n: (lambda x, y: lambda: torch.equal(x, y))(_gpu(n), _gpu(n)),
    "repr": lambda n: (lambda x: x.__repr__)(_gpu(n)),
    "foreach_norm": lambda n: (lambda x: lambda: torch.ops.aten._foreach_norm([x, x]))(_gpu(n)),
    "clip_grad_norm_": lambda n: (lambda x: lambda: torch.nn.utils.clip_grad_norm_([x], 1.0))(_gpu(n).requires_grad_()),
    "Adam.step": _stepped(lambda p: torch.optim.Adam(p)),
    "AdamW.step, fused": _stepped(lambda p: torch.optim.AdamW(p, fused=True)),
    "AdamW.step, no foreach": _stepped(lambda p: torch.optim.AdamW(p, foreach=False)),
    "SGD.step, momentum": _stepped(lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
}
"""What is written by hand, for each size."""
