"""Values on the device are the CPU's in every type, through views, in place, and where the caller gives the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

HALF = (torch.float16, torch.bfloat16)
REAL = (*HALF, torch.float32, torch.float64)
COMPLEX = (torch.complex64, torch.complex128)
WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
EVERY = (*REAL, *COMPLEX, *WHOLE, torch.bool)

Op = Callable[..., Any]
OPS: dict[str, tuple[Op, tuple[torch.dtype, ...]]] = {
    "add": (lambda x: x + x, EVERY),
    "multiply by a number": (lambda x: x * 2, EVERY),
    "compare": (lambda x: x == x.flip(0), EVERY),
    "where": (lambda x: torch.where(x.bool(), x, x.flip(1)), EVERY),
    "cat": (lambda x: torch.cat([x, x.t()]), EVERY),
    "index": (lambda x: x[torch.tensor([2, 0], device=x.device)], EVERY),
    "mask": (lambda x: x[x.bool()], EVERY),
    "nonzero": (lambda x: x.nonzero(), EVERY),
    "sum": (lambda x: x.sum(0), (*REAL, *COMPLEX, *WHOLE)),
    "cumsum": (lambda x: x.cumsum(1), (*REAL, *COMPLEX, *WHOLE)),
    "product": (lambda x: x @ x, (*REAL, *COMPLEX)),
    "sort": (lambda x: x.sort(1).values, (*REAL, *WHOLE, torch.bool)),
    "topk": (lambda x: x.topk(2).values, (*REAL, *WHOLE)),
    "max": (lambda x: x.max(1).indices, (*REAL, *WHOLE)),
    "unique": (lambda x: x.unique(), (torch.float32, *WHOLE, torch.bool)),
    "exp": (lambda x: x.exp(), (*REAL, *COMPLEX)),
    "softmax": (lambda x: x.softmax(-1), REAL),
    "layer norm": (lambda x: F.layer_norm(x, (4,)), REAL),
    "gelu": (lambda x: F.gelu(x), REAL),
    "attention": (lambda x: F.scaled_dot_product_attention(x[None], x[None], x[None]), REAL),
    "convolution": (lambda x: F.conv1d(x[None], x[:, :, None]), REAL),
    "mean": (lambda x: x.mean(), (*REAL, *COMPLEX)),
    "shift": (lambda x: x << 1, WHOLE),
    "bitwise": (lambda x: ~x & x.flip(0), (*WHOLE, torch.bool)),
    "conjugate": (lambda x: (x.conj() * x).real, COMPLEX),
    "fft": (lambda x: torch.fft.fft(x), (torch.float32, torch.float64, *COMPLEX)),
    "solve": (lambda x: torch.linalg.solve(x + 8 * torch.eye(4, device=x.device), x), (torch.float32, *COMPLEX)),
    "scatter": (lambda x: x.scatter_add(0, torch.zeros(4, 4, dtype=torch.int64, device=x.device), x), EVERY[:-1]),
}
CASES = [(name, dtype) for name, (_, dtypes) in OPS.items() for dtype in dtypes]


pytestmark = pytest.mark.usefixtures("module_device")


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=[f"{name}, {str(dtype)[6:]}" for name, dtype in CASES])
def test_an_operator_computes_what_it_computes_on_the_host(name: str, dtype: torch.dtype) -> None:
    x = (torch.arange(16).view(4, 4) % 7 % 3).to(dtype)

    found = OPS[name][0](x.cuda())

    assert found.is_cuda
    wanted = OPS[name][0](x)
    assert found.dtype is wanted.dtype
    torch.testing.assert_close(found.cpu(), wanted, equal_nan=True)


def _through(view: Callable[[Any], Any]) -> Op:
    def write(x: Any) -> Any:
        view(x).add_(1)
        return x

    return write


def _assigned(where: Any) -> Op:
    def write(x: Any) -> Any:
        x[where] = 5.0
        return x

    return write


def _grown(x: Any) -> Any:
    y = x.clone()
    y.resize_(2, 4)
    return y[:1].clone()


def _swapped(x: Any) -> Any:
    y = torch.empty(0, device=x.device)
    y.set_(x.untyped_storage(), 4, (2, 4), (4, 1))
    y.zero_()
    return x


def _with_other_data(x: Any) -> Any:
    x.data = x.data * 2
    return x


def _several_in_place(x: Any) -> Any:
    torch._foreach_mul_([x[0], x[1]], 3.0)
    return x


def _given(operator: Callable[..., Any]) -> Op:
    def write(x: Any) -> Any:
        out = torch.full_like(x, 9.0)
        returned = operator(x, out=out)
        assert returned is out
        return out

    return write


def _given_less(x: Any) -> Any:
    out = torch.empty(0, device=x.device)
    torch.exp(x, out=out)
    return out


def _given_a_view(x: Any) -> Any:
    whole = torch.zeros(8, 4, device=x.device)
    torch.exp(x, out=whole[::2])
    return whole


WRITES: dict[str, Op] = {
    "a row": _through(lambda x: x[1]),
    "a column": _through(lambda x: x[:, 1]),
    "every other row": _through(lambda x: x[::2]),
    "transposed": _through(lambda x: x.t()),
    "reshaped": _through(lambda x: x.view(2, 8)[0]),
    "diagonal": _through(lambda x: x.diagonal()),
    "expanded and indexed": _through(lambda x: x.unsqueeze(0)[0, 2]),
    "as_strided": _through(lambda x: x.as_strided((2, 2), (4, 2), 1)),
    "split": _through(lambda x: x.split(2)[1]),
    "unbind": _through(lambda x: x.unbind(1)[2]),
    "detached": _through(lambda x: x.detach()),
    "real of complex": lambda x: _through(lambda each: each.real)(torch.complex(x, x)).abs(),
    "view as another type": _through(lambda x: x.view(torch.int32)[0]),
    "assigned to a row": _assigned(1),
    "assigned to a slice": _assigned((slice(1, 3), slice(None, None, 2))),
    "assigned to a list": _assigned([0, 3]),
    "resize_": _grown,
    "set_": _swapped,
    "out": _given(torch.exp),
    "out of a product": _given(lambda x, out: torch.mm(x, x, out=out)),
    "out of a sum": _given(lambda x, out: torch.add(x, x, alpha=2, out=out)),
    "out that has to grow": _given_less,
    "out that is a view": _given_a_view,
    "copy_ of an overlapping part": lambda x: x[1:].copy_(x[:-1].clone()),
    "fill_diagonal_": lambda x: x.fill_diagonal_(3.0),
    "index_add_": lambda x: x.index_add_(0, torch.tensor([0, 2], device=x.device), x[:2].clone()),
    "transpose_": lambda x: x.transpose_(0, 1).mul_(2),
    "swapped data": _with_other_data,
    "foreach": lambda x: torch._foreach_add([x, x.t()], 1.0)[1],
    "foreach in place": _several_in_place,
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_is_seen_wherever_it_is_on_the_host(name: str) -> None:
    x = torch.arange(16.0).view(4, 4)

    found = WRITES[name](x.clone().cuda())

    assert found.is_cuda
    assert torch.equal(found.cpu(), WRITES[name](x.clone()))


def test_a_view_sees_that_its_base_grew() -> None:
    x = torch.ones(4, device="cuda")
    view = x[:2]

    x.resize_(1024).fill_(3.0)

    assert view.tolist() == [3.0, 3.0]


def test_views_know_their_base_and_count_its_writes() -> None:
    x = torch.zeros(4, device="cuda")
    view = x[1:]

    view.add_(1)

    assert view._base is x
    assert x._version == 1
    assert x.tolist() == [0.0, 1.0, 1.0, 1.0]


def test_a_write_to_what_backward_needs_is_refused() -> None:
    x = torch.ones(3, device="cuda", requires_grad=True)
    y = x.exp()
    y.add_(1)

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


MIXED: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y,
    "product": lambda x, y: x @ y,
    "cat": lambda x, y: torch.cat([x, y]),
    "stack": lambda x, y: torch.stack([x, y]),
    "where": lambda x, y: torch.where(x > 0, x, y),
    "linear": lambda x, y: F.linear(x, y),
    "addmm": lambda x, y: torch.addmm(x, x, y),
    "add_": lambda x, y: x.add_(y),
    "host add_": lambda x, y: y.add_(x),
    "out": lambda x, y: torch.add(x, x, out=y),
    "gather": lambda x, y: x.gather(0, y.long()),
    "embedding": lambda x, y: F.embedding(y.long(), x),
    "layer norm": lambda x, y: F.layer_norm(x, (4,), y[0]),
    "cross entropy": lambda x, y: F.cross_entropy(x, y[0].long()),
    "lerp": lambda x, y: torch.lerp(x, y, 0.5),
    "a module": lambda x, y: nn.Linear(4, 4)(x),
}


@pytest.mark.parametrize("name", MIXED)
def test_tensors_of_two_devices_are_refused(name: str) -> None:
    with pytest.raises(RuntimeError, match="device"):
        MIXED[name](torch.ones(4, 4, device="cuda"), torch.ones(4, 4))


def test_the_error_of_two_devices_names_both() -> None:
    with pytest.raises(
        RuntimeError,
        match="Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu",
    ):
        torch.ones(4, device="cuda") + torch.ones(4)


REFUSED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "shapes": (lambda x: x + torch.ones(3, device="cuda"), RuntimeError, "must match the size of tensor b"),
    "product": (lambda x: x @ torch.ones(3, 3, device="cuda"), RuntimeError, "cannot be multiplied"),
    "an index": (lambda x: x[9], IndexError, "out of bounds"),
    "a view": (lambda x: x.view(3, 5), RuntimeError, "invalid for input of size"),
    "no gradient": (lambda x: x.sum().backward(), RuntimeError, "does not require grad"),
    "numpy": (lambda x: x.numpy(), TypeError, "can't convert cuda:0 device type tensor to numpy"),
    "several values": (lambda x: x.item(), RuntimeError, "cannot be converted to Scalar"),
    "truth of several values": (lambda x: bool(x), RuntimeError, "ambiguous"),
    "copy_ of another shape": (lambda x: x.copy_(torch.ones(3)), RuntimeError, "must match|size of tensor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_on_a_gpu_is_refused(name: str) -> None:
    call, error, said = REFUSED[name]

    with pytest.raises(error, match=said):
        call(torch.ones(4, 4, device="cuda"))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("cell", [False, True])
def test_recurrent_layers_have_the_values_and_gradients_of_the_host(kind: Any, cell: bool) -> None:
    torch.manual_seed(1)
    layer = {nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell}[kind](4, 8) if cell else kind(4, 8, 2, bidirectional=True)
    x = torch.randn(3, 4) if cell else torch.randn(5, 3, 4)

    def run(module: Any, given: torch.Tensor) -> list[torch.Tensor]:
        leaf = given.clone().requires_grad_()
        found = module(leaf)
        out = found[0] if isinstance(found, tuple) else found
        module.zero_grad()
        out.pow(2).sum().backward()
        assert leaf.grad is not None
        return [out.detach(), leaf.grad, *(each.grad.clone() for each in module.parameters())]

    wanted = run(layer, x)
    found = run(layer.cuda(), x.cuda())

    assert all(each.is_cuda for each in found)
    torch.testing.assert_close([each.cpu() for each in found], wanted)


@pytest.mark.parametrize("shape", [(5, 5), (3, 5), (5, 3), (2, 3, 4, 6), (0, 3, 3), (3, 0)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64])
def test_a_factorization_without_pivoting_gives_the_matrix_back(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    matrix = torch.rand(shape, dtype=dtype) + 3 * torch.eye(*shape[-2:], dtype=dtype)
    rows, columns = shape[-2:]

    permutation, lower, upper = torch.linalg.lu(matrix.cuda(), pivot=False)
    factors, pivots = torch.linalg.lu_factor(matrix.cuda(), pivot=False)

    torch.testing.assert_close((lower @ upper).cpu(), matrix)
    assert permutation.shape == (0,)
    assert torch.equal(lower.triu().cpu(), torch.eye(rows, min(rows, columns), dtype=dtype).expand(lower.shape))
    assert torch.equal(upper.tril(-1).cpu(), torch.zeros(upper.shape, dtype=dtype))
    p, *others = torch.lu_unpack(factors, pivots)
    assert torch.equal(p.real.cpu(), torch.eye(rows, dtype=p.real.dtype).expand(p.shape))
    torch.testing.assert_close((others[0] @ others[1]).cpu(), matrix)


def test_a_factorization_without_pivoting_is_differentiated() -> None:
    torch.manual_seed(0)
    matrix = torch.rand(4, 4, dtype=torch.float64) + 3 * torch.eye(4, dtype=torch.float64)
    leaf = matrix.cuda().requires_grad_()

    assert torch.autograd.gradcheck(lambda x: torch.linalg.lu(x, pivot=False)[1:], leaf)


def test_a_zero_pivot_is_told_of() -> None:
    matrix = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).cuda()

    assert torch.linalg.lu_factor_ex(matrix, pivot=False).info.item() == 1
    with pytest.raises(RuntimeError, match=r"U\[1,1\] is zero"):
        torch.linalg.lu_factor_ex(matrix, pivot=False, check_errors=True)
