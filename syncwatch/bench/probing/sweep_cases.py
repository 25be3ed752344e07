"""The sizes, layouts and types at which a sweep tries each operator, grown from torch's own samples or made by hand.

A sample of an operator is grown by giving its longest dimension another length, in every tensor of the sample, so that
its input has about as many elements as asked. The values are those of the sample, repeated: indices stay valid.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from syncwatch.bench.probing.probe import sampled_operators
from syncwatch.bench.probing.sweep_hand import HAND

SIZES = (1, 33, 1025, 2049, 65_536, 1_000_000)
FEW = (33, 2049, 65_536)
_LOOKED_AT = 40
_SAMPLES = 3
_LARGEST = 1 << 22
"""Elements of one tensor."""
_MATRICES = (
    "linalg",
    "cholesky",
    "inverse",
    "logdet",
    "lu",
    "matrix_exp",
    "det",
    "svd",
    "symeig",
    "triangular",
    "pinverse",
)
Made = tuple[Callable[[], object], int]


@dataclass(frozen=True, slots=True)
class SweepCase:
    """One operator on one kind of input."""

    name: str
    """`operator|variant|dtype|layout|sample|direction|size`."""
    group: str
    """The name without the size: where one size costs too much, the larger ones are left out."""
    size: int
    signature: str
    """The shapes of the sample it is grown from; two versions of torch are compared only where they agree."""
    prepare: Callable[[], Callable[[], object]]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A layout and a direction, with the types and sizes that they are tried at."""

    layout: str
    backward: bool
    dtypes: tuple[torch.dtype, ...]
    sizes: tuple[int, ...]
    samples: int


_F32 = (torch.float32,)
_OTHERS = (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.complex64)
_KINDS = (
    _Kind("contiguous", False, _F32, SIZES, 1),
    _Kind("contiguous", False, _F32, FEW, _SAMPLES),
    _Kind("contiguous", False, _OTHERS, FEW, 1),
    _Kind("strided", False, _F32, (33, 2049, 65_536, 1_000_000), 1),
    _Kind("channels_last", False, _F32, (33, 65_536), 1),
    _Kind("pageable", False, _F32, (33, 65_536), 1),
    _Kind("pinned", False, _F32, (33, 65_536), 1),
    _Kind("coo", False, _F32, FEW, 1),
    _Kind("coo2", False, _F32, FEW, 1),
    _Kind("csr", False, _F32, FEW, 1),
    _Kind("jagged", False, _F32, FEW, 1),
    _Kind("contiguous", True, _F32, (33, 2049, 65_536, 1_000_000), 1),
    _Kind("contiguous", True, (torch.float16, torch.complex64), (2049,), 1),
    _Kind("strided", True, _F32, (2049,), 1),
    _Kind("coo", True, _F32, (2049,), 1),
    _Kind("jagged", True, _F32, (2049,), 1),
)


_SHORT_SIZE = 65_536
_SHORT = (
    _Kind("contiguous", False, _F32, (33, 2049, _SHORT_SIZE), 1),
    _Kind("contiguous", False, (torch.int64, torch.bool), (2049,), 1),
    _Kind("strided", False, _F32, (2049,), 1),
    _Kind("pageable", False, _F32, (33,), 1),
    _Kind("coo", False, _F32, (2049,), 1),
    _Kind("contiguous", True, _F32, (2049,), 1),
)


def operator_names() -> list[str]:
    """Return the name of everything that cases are made of: torch's operators, then what is written by hand."""
    return [
        *(f"{each.name}|{each.variant_test_name}" for each in sampled_operators()),
        *(f"{name}|hand" for name in HAND),
    ]


def cases(name: str, full: bool = True) -> Iterator[SweepCase]:
    """Yield the cases of one of `names()`, smaller ones first; unless `full`, few of an operator's and no million."""
    operator, _, variant = name.partition("|")
    if variant == "hand":
        yield from (each for each in _by_hand(operator) if full or each.size <= _SHORT_SIZE)
        return
    found = next(each for each in sampled_operators() if f"{each.name}|{each.variant_test_name}" == name)
    seen: set[str] = set()
    for kind in _KINDS if full else _SHORT:
        if kind.backward and not found.supports_autograd:
            continue
        for dtype in kind.dtypes:
            for case in _of_kind(found, kind, dtype):
                if case.name not in seen:
                    seen.add(case.name)
                    yield case


def _of_kind(operator: Any, kind: _Kind, dtype: torch.dtype) -> Iterator[SweepCase]:
    typed = str(dtype).removeprefix("torch.")
    for index, sample in enumerate(_samples(operator, dtype)[: kind.samples]):
        group = "|".join(
            (
                operator.name,
                operator.variant_test_name,
                typed,
                kind.layout,
                str(index),
                "backward" if kind.backward else "forward",
            )
        )
        signature = _brief((sample.input, sample.args, sample.kwargs))
        for size in kind.sizes:
            length = _length(sample, size)
            if length is None or not _suits(kind.layout, sample):
                continue
            prepare = _preparer(operator, sample, kind, *length)
            yield SweepCase(f"{group}|{size}", group, size, signature, prepare)


_SAMPLES_OF: dict[tuple[str, str, torch.dtype], list[Any]] = {}


def _samples(operator: Any, dtype: torch.dtype) -> list[Any]:
    """Return a few samples on the host: the first with something to grow, then others that are called otherwise."""
    key = (operator.name, operator.variant_test_name, dtype)
    if key not in _SAMPLES_OF:
        _SAMPLES_OF.clear()
        _SAMPLES_OF[key] = list(_chosen(operator, dtype)) if dtype in operator.supported_dtypes("cuda") else []
    return _SAMPLES_OF[key]


def _chosen(operator: Any, dtype: torch.dtype) -> Iterator[Any]:
    torch.manual_seed(0)
    ways: set[tuple[object, ...]] = set()
    try:
        for sample in itertools.islice(operator.sample_inputs("cpu", dtype, requires_grad=False), _LOOKED_AT):
            tensors = list(tensors_in((sample.input, sample.args, sample.kwargs)))
            if not tensors or not any(each.numel() > 1 for each in tensors):
                continue
            way = (len(sample.args), tuple(sorted(sample.kwargs)))
            if way not in ways:
                ways.add(way)
                yield sample
            if len(ways) == _SAMPLES:
                return
    except Exception:
        # Some samplers do not know every type they claim; such an operator has nothing to grow.
        return


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Yield every tensor inside lists, tuples and dictionaries."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from tensors_in(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from tensors_in(each)


def _length(sample: Any, size: int) -> tuple[int, int] | None:
    """Return the length that is replaced, and by which; None where the sample cannot be made as large, or as small."""
    everything = list(tensors_in((sample.input, sample.args, sample.kwargs)))
    first = next((each for each in everything if each.dim()), None)
    if first is None:
        return None
    old = max(first.shape)
    if old < 1:
        return None
    times = sum(each == old for each in first.shape)
    rest = first.numel() // old**times or 1
    new = max(round((size / rest) ** (1 / times)), 1)
    if new < old and any(not each.is_floating_point() and not each.is_complex() for each in everything):
        return None
    if max(_grown_numel(each, old, new) for each in everything) > _LARGEST:
        return None
    return old, new


def _grown_numel(tensor: torch.Tensor, old: int, new: int) -> int:
    count = 1
    for each in tensor.shape:
        count *= new if each == old else each
    return count


def _suits(layout: str, sample: Any) -> bool:
    given = sample.input if isinstance(sample.input, torch.Tensor) else None
    others = list(tensors_in((sample.args, sample.kwargs)))
    if layout == "channels_last":
        return given is not None and given.dim() == 4
    if layout in ("pageable", "pinned", "coo2"):
        return given is not None and bool(others) and (layout != "coo2" or given.dim() == 2)
    if layout in ("coo", "csr"):
        return given is not None and given.dim() == 2
    if layout == "jagged":
        return given is not None and given.dim() >= 2
    return True


def _preparer(operator: Any, sample: Any, kind: _Kind, old: int, new: int) -> Callable[[], Callable[[], object]]:
    matrices = operator.name.startswith(_MATRICES)

    def prepare() -> Callable[[], object]:
        torch.manual_seed(0)
        grown = _mapped((sample.input, tuple(sample.args), sample.kwargs), lambda x: _grown(x, old, new, matrices))
        first, others, named = grown
        first = _mapped(first, lambda x: _laid_out(x, kind.layout))
        others, named = _mapped((others, named), lambda x: _other(x, kind.layout))
        if not kind.backward:
            return lambda: operator.op(first, *others, **named)
        return _backward(operator, first, others, named)

    return prepare


def _backward(operator: Any, first: Any, others: Any, named: Any) -> Callable[[], object]:
    first, others, named = _mapped((first, others, named), _leaf)
    leaves = [each for each in tensors_in((first, others, named)) if each.requires_grad]
    out = operator.op(first, *others, **named)
    outs = [each for each in tensors_in(out) if each.requires_grad]
    grads = [torch.ones_like(each) for each in outs]
    return lambda: torch.autograd.grad(outs, leaves, grads, allow_unused=True)


def _leaf(x: torch.Tensor) -> torch.Tensor:
    return x.detach().requires_grad_() if x.is_floating_point() or x.is_complex() else x


def _mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, dict):
        return {name: _mapped(each, change) for name, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_mapped(each, change) for each in value)
    return value


def _grown(x: torch.Tensor, old: int, new: int, matrices: bool) -> torch.Tensor:
    shape = [new if each == old else each for each in x.shape]
    if x.dim() == 0 or x.numel() == 0 or shape == list(x.shape):
        return x.detach().clone()
    if matrices and x.dim() >= 2 and shape[-1] == shape[-2] and (x.is_floating_point() or x.is_complex()):
        # Repeated rows would make it singular.
        made = torch.randn(shape, dtype=x.dtype)
        return made @ made.mH / shape[-1] + torch.eye(shape[-1], dtype=x.dtype)
    repeated = x.detach()
    for dim, length in enumerate(shape):
        if length != repeated.shape[dim]:
            index = torch.arange(length) % repeated.shape[dim]
            repeated = repeated.index_select(dim, index)
    if not x.is_floating_point():
        return repeated.clone()
    low, high = x.min(), x.max()
    # Other values, within the domain of the sample's.
    return (repeated * (1 + 0.01 * torch.rand(shape, dtype=x.dtype))).clamp(low, high)


def _laid_out(x: torch.Tensor, layout: str) -> torch.Tensor:
    if layout == "strided":
        return _strided(x.to("cuda"))
    if layout == "channels_last" and x.dim() == 4:
        return x.to("cuda").contiguous(memory_format=torch.channels_last)
    if layout in ("coo", "coo2"):
        return (x * (torch.rand(x.shape) > 0.7)).to_sparse().to("cuda")
    if layout == "csr":
        return (x * (torch.rand(x.shape) > 0.7)).to_sparse_csr().to("cuda")
    if layout == "jagged":
        flat = x.reshape(-1, x.shape[-1]).to("cuda")
        third = flat.shape[0] // 3
        return torch.nested.nested_tensor([flat[:third], flat[third:]], layout=torch.jagged)
    return x.to("cuda")


def _strided(x: torch.Tensor) -> torch.Tensor:
    if x.dim() >= 2:
        return x.transpose(-1, -2).contiguous().transpose(-1, -2)
    return torch.stack([x, x], -1)[..., 0]


def _other(x: torch.Tensor, layout: str) -> torch.Tensor:
    if layout == "pageable":
        return x
    if layout == "pinned":
        return x.pin_memory()
    if layout == "coo2" and x.dim() == 2:
        return (x * (torch.rand(x.shape) > 0.7)).to_sparse().to("cuda")
    if layout == "strided":
        return _strided(x.to("cuda")) if x.dim() else x.to("cuda")
    return x.to("cuda")


def _brief(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, dict):
        return ",".join(f"{name}={_brief(each)}" for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_brief(each) for each in value)}]"
    said = repr(value)
    return type(value).__name__ if " at 0x" in said else said[:40]


def _by_hand(name: str) -> Iterator[SweepCase]:
    def at(size: int) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            torch.manual_seed(0)
            return HAND[name](size)

        return prepare

    for size in (1, 33, 1025, 2049, 16_384, 16_385, 65_536, 1_000_000):
        yield SweepCase(f"{name}|hand|{size}", f"{name}|hand", size, "", at(size))
