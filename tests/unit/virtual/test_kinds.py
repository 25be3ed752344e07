"""Tensors beyond plain ones: subclasses, nested and sparse tensors, those of functorch; and composed operators."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from syncwatch.sense.recorder import Recorder
from tests.helpers.waits import waits_of

functions: Any = torch.func
READ = "aten._local_scalar_dense"


pytestmark = pytest.mark.usefixtures("module_device")


class Wrapper(torch.Tensor):
    """Holds another tensor, as quantized and distributed tensors do."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls: Any, inner: torch.Tensor) -> Any:
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, dtype=inner.dtype, device=inner.device, strides=inner.stride()
        )

    def __init__(self, inner: torch.Tensor) -> None:
        self.held = inner

    def __repr__(self, **options: Any) -> str:  # type: ignore[override]
        return f"Wrapper({self.held.shape})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given, named = tree_map_only(cls, lambda each: each.held, (args, kwargs or {}))
        return tree_map_only(torch.Tensor, cls, func(*given, **named))


class Function(torch.Tensor):
    """Sees every function of torch."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        plain: Any = super().__torch_function__
        return plain(func, types, args, kwargs or {})


def test_a_wrapper_says_that_it_is_on_the_device(recorder: Recorder) -> None:
    wrapped = Wrapper(torch.ones(3, device="cuda"))

    out: Any = wrapped * 2 + wrapped

    assert isinstance(out, Wrapper)
    assert out.device == torch.device("cuda", 0)
    assert out.held.is_cuda
    assert not waits_of(recorder)
    assert out.held.tolist() == [3.0] * 3


def test_what_a_wrapper_waits_for_is_seen_once(recorder: Recorder) -> None:
    wrapped = Wrapper(torch.ones(2, device="cuda"))

    wrapped[wrapped > 0]

    assert [sync.op for sync in waits_of(recorder)] == ["aten.index"]


def test_a_wrapper_moves_to_the_device_and_back() -> None:
    wrapped = Wrapper(torch.ones(3))

    there: Any = wrapped.to("cuda")
    back: Any = there.cpu()

    assert (there.held.is_cuda, back.held.is_cuda) == (True, False)


def test_gradients_go_through_a_wrapper() -> None:
    leaf = torch.ones(3, device="cuda", requires_grad=True)

    out: Any = Wrapper(leaf.detach()).requires_grad_()
    (out * 3).sum().backward()

    assert out.grad.held.tolist() == [3.0] * 3


def test_a_class_that_sees_functions_stays_on_the_device(recorder: Recorder) -> None:
    x: Any = torch.ones(3, device="cuda").as_subclass(Function)

    assert isinstance(x * 2, Function)
    assert (x * 2).is_cuda
    assert (x.sum() * 2).item() == 6.0
    assert [sync.op for sync in waits_of(recorder)] == [READ]


def test_a_mode_of_the_users_sees_the_operators_of_the_device(recorder: Recorder) -> None:
    seen: list[str] = []

    class Log(TorchDispatchMode):
        def __init__(self) -> None:
            TorchDispatchMode.__init__(self)

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    x = torch.ones(3, device="cuda")
    with Log():
        assert x.add(1).sum().item() == 6.0

    assert seen == ["aten.add.Tensor", "aten.sum.default", "aten._local_scalar_dense.default"]
    assert [sync.op for sync in waits_of(recorder)] == [READ]


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_tensors_compute_what_they_compute_on_the_host(layout: torch.layout) -> None:
    rows = [torch.randn(2, 4), torch.randn(3, 4)]
    weight = torch.randn(4, 4)

    def run(*given: torch.Tensor) -> list[torch.Tensor]:
        *parts, matrix = given
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nested = torch.nested.nested_tensor(parts, layout=layout, device=matrix.device)
            out = F.gelu(F.linear(nested, matrix) * 2)
            return [*out.unbind(), out.to_padded_tensor(0.0)]

    found = run(*[each.cuda() for each in (*rows, weight)])

    assert all(each.is_cuda for each in found)
    torch.testing.assert_close([each.cpu() for each in found], run(*rows, weight))


def test_gradients_go_through_a_jagged_tensor() -> None:
    values = torch.randn(5, 4, device="cuda", requires_grad=True)
    offsets = torch.tensor([0, 2, 5], device="cuda")

    nested: Any = torch.nested.nested_tensor_from_jagged(values, offsets)
    (nested * 2).values().sum().backward()

    assert values.grad is not None
    assert torch.equal(values.grad.cpu(), torch.full((5, 4), 2.0))


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "coo": lambda x: x.to_sparse(),
    "hybrid": lambda x: x.to_sparse(1),
    "csr": lambda x: x.to_sparse_csr(),
    "csc": lambda x: x.to_sparse_csc(),
    "bsr": lambda x: x.to_sparse_bsr((2, 2)),
    "bsc": lambda x: x.to_sparse_bsc((2, 2)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_sparse_layout_holds_the_same_values(name: str) -> None:
    dense = torch.tensor([[0.0, 1, 0, 2], [0, 0, 0, 0], [3, 0, 0, 0], [0, 0, 4, 5]])

    made = LAYOUTS[name](dense.cuda())
    moved = LAYOUTS[name](dense).cuda()

    assert made.is_cuda and moved.is_cuda
    assert made.layout == moved.layout == LAYOUTS[name](dense).layout
    for each in (made, moved, made.cpu(), made.clone(), made * 1):
        assert torch.equal(each.to_dense().cpu(), dense)


@pytest.mark.parametrize("name", ["coo", "csr"])
def test_a_sparse_matrix_multiplies_and_passes_gradients(name: str) -> None:
    dense, right = torch.eye(4) * 3, torch.randn(4, 4)

    def run(matrix: torch.Tensor, other: torch.Tensor) -> list[torch.Tensor]:
        leaf = other.clone().requires_grad_()
        out = torch.sparse.mm(LAYOUTS[name](matrix), leaf)
        out.sum().backward()
        assert leaf.grad is not None
        return [out.detach().cpu(), leaf.grad.cpu()]

    torch.testing.assert_close(run(dense.cuda(), right.cuda()), run(dense, right))


DERIVED: dict[str, Callable[[Any], Any]] = {
    "grad": lambda x: functions.grad(lambda each: each.sin().sum())(x),
    "vjp": lambda x: functions.vjp(lambda each: each.exp(), x)[1](torch.ones_like(x))[0],
    "jvp": lambda x: functions.jvp(lambda each: each.exp(), (x,), (torch.ones_like(x),))[1],
    "jacrev": lambda x: functions.jacrev(lambda each: each.sin())(x),
    "jacfwd": lambda x: functions.jacfwd(lambda each: each.sin())(x),
    "hessian": lambda x: functions.hessian(lambda each: each.pow(3).sum())(x),
    "vmap": lambda x: functions.vmap(lambda each: each * 2 + each.sum())(x),
    "vmap of grad": lambda x: functions.vmap(functions.grad(lambda each: (each**2).sum()))(x),
    "vmap of a product": lambda x: functions.vmap(torch.mv, in_dims=(None, 0))(x, x),
    "linearize": lambda x: functions.linearize(lambda each: each.sin(), x)[1](x),
    "functional_call": lambda x: functions.functional_call(torch.nn.Linear(4, 4), {"weight": x, "bias": x[0]}, (x,)),
    "functionalize": lambda x: functions.functionalize(lambda each: each.clone().add_(1))(x),
}


@pytest.mark.parametrize("name", DERIVED)
def test_a_derivative_is_that_of_the_host(recorder: Recorder, name: str) -> None:
    x = torch.linspace(-1, 1, 16).view(4, 4)

    found = DERIVED[name](x.cuda())
    waits = len(waits_of(recorder)) - 1  # the upload

    assert found.is_cuda
    assert waits == 0
    torch.testing.assert_close(found.detach().cpu(), DERIVED[name](x).detach())


def test_vmap_draws_numbers_of_the_device() -> None:
    x = torch.ones(4, 64, device="cuda")
    state = torch.get_rng_state()

    out = functions.vmap(lambda each: F.dropout(each, 0.5), randomness="different")(x)
    same = functions.vmap(lambda each: F.dropout(each, 0.5), randomness="same")(x)

    assert out.is_cuda
    assert not torch.equal(out[0], out[1])
    assert torch.equal(same[0], same[1])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_read_under_vmap_is_refused_as_torch_refuses_it() -> None:
    with pytest.raises(RuntimeError, match="vmap"):
        functions.vmap(lambda each: each.item())(torch.ones(3, device="cuda"))


# Operators that torch composes of others in C++: the waits expected are those of the operators they call.
COMPOSED: dict[str, tuple[Callable[[Any], Any], int]] = {
    "einsum": (lambda x: torch.einsum("ij,kj->ik", x, x), 0),
    "tensordot": (lambda x: torch.tensordot(x, x, 1), 0),
    "matmul": (lambda x: torch.matmul(x[None], x), 0),
    "layer of heads": (lambda x: torch.nn.MultiheadAttention(4, 2, device="cuda")(x, x, x)[0], 0),
    "group norm": (lambda x: F.group_norm(x, 2), 0),
    "instance norm": (lambda x: F.instance_norm(x[None]), 0),
    "cosine similarity": (lambda x: F.cosine_similarity(x, x), 0),
    "cdist": (lambda x: torch.cdist(x, x), 0),
    "kron": (lambda x: torch.kron(x, x), 0),
    "block_diag": (lambda x: torch.block_diag(x, x), 0),
    "meshgrid": (lambda x: torch.meshgrid(x[0], x[1], indexing="ij")[0], 0),
    "nanmean": (lambda x: x.nanmean(), 0),
    "stft": (lambda x: torch.stft(x.flatten(), 8, window=torch.ones(8, device="cuda"), return_complex=True), 0),
    "interpolate": (lambda x: F.interpolate(x[None, None], scale_factor=2.0), 0),
    "pad": (lambda x: F.pad(x, (1, 1), mode="reflect"), 0),
    "unfold": (lambda x: F.unfold(x[None, None], 2), 0),
    "argwhere": (lambda x: torch.argwhere(x), 1),
    "masked_select": (lambda x: x.masked_select(x > 0), 1),
    "matrix_rank": (lambda x: torch.linalg.matrix_rank(x), 2),
    "allclose": (lambda x: torch.allclose(x, x.clone()) and x, 1),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_a_composed_operator_waits_where_its_parts_do(recorder: Recorder, name: str) -> None:
    call, expected = COMPOSED[name]
    x = torch.linspace(-1, 1, 16, device="cuda").view(4, 4)

    found = call(x)

    assert found.is_cuda
    assert len(waits_of(recorder)) == expected
