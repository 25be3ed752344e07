"""What is known of an operator before it runs: asked once for each, by the native library.

Its floating-point operations are counted by torch's own formulas, which map over every argument and cost 20 us a call,
so the four products that are most of what runs are counted by hand.

Whether it runs the same C++ on CUDA as on the CPU, torch's list of kernels says. Such a function is composed of other
operators, most of them on sparse or nested tensors. It is called with the device's own tensors then, and what it calls
is seen one by one, as on a GPU.

The names are without overload, as in `aten.nonzero`; the table of waits is in `rows/`.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from functools import cache
from pathlib import Path
from typing import Any

import torch

from syncwatch.sense.virtual.operators import rows
from syncwatch.sense.virtual.operators.table import BlockingOp, row_of

Flops = Callable[[Any, Any, Any], int]
"""Takes the arguments, the named arguments and the output."""


def flops_of(overload: Any, name: str) -> Flops | None:
    """Return the formula of an operator, or None where it is not worth one."""
    by_hand = _BY_HAND.get(name)
    if by_hand is not None:
        return by_hand
    from torch.utils.flop_counter import flop_registry

    formula = flop_registry.get(overload.overloadpacket)
    if formula is None:
        return None

    def count(args: Any, kwargs: Any, out: Any) -> int:
        try:
            return int(formula(*args, **kwargs, out_val=out))
        except (AssertionError, IndexError, RuntimeError, TypeError, ValueError):
            # A formula may refuse shapes that the operator takes; the time is then that of the bytes.
            return 0

    return count


def _product(left: int) -> Flops:
    """Return the FLOPs of a matrix product whose left matrix is the argument at `left`."""

    def count(args: Any, kwargs: Any, out: Any) -> int:
        return 2 * int(out.numel()) * int(args[left].shape[-1])

    return count


_BY_HAND: dict[str, Flops] = {
    "aten.mm": _product(0),
    "aten.bmm": _product(0),
    "aten.addmm": _product(1),
    "aten.baddbmm": _product(1),
}


_KEYS = {"Sparse": 512, "SparseCsr": 1024, "NestedTensor": 2048}
"""Kinds of dispatch keys, and the traits that say so; see `traits.Trait`."""
_HOST_ONLY = {"": 1 << 19, "SparseCsr": 1 << 20, "NestedTensor": 1 << 21, "Quantized": 1 << 22}
"""The same for operators that have a kernel for the CPU and none for CUDA."""


def same_code_of(full: str) -> int:
    """Return the traits of the overload `full`, as `aten::add.Tensor`."""
    return _kernel_table().get(full, 0)


@cache
def _kernel_table() -> dict[str, int]:
    found_at = importlib.util.find_spec("torchgen")
    if found_at is None or found_at.origin is None:
        return {}
    path = Path(found_at.origin).parent / "packaged" / "ATen" / "native" / "native_functions.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return {}
    kernels: dict[str, list[tuple[set[str], str]]] = {}
    for line in text.splitlines():
        if line.startswith("- func: "):
            rows = kernels["aten::" + line[len("- func: ") : line.index("(")].strip()] = []
            continue
        match = _LINE.match(line)
        if match is not None:
            rows.append(({key.strip() for key in match["keys"].split(",")}, match["function"]))
    return {name: _dispatch_traits(rows) for name, rows in kernels.items() if rows}


def _dispatch_traits(rows: list[tuple[set[str], str]]) -> int:
    traits = 0
    for kind, trait in _KEYS.items():
        if any({f"{kind}CPU", f"{kind}CUDA"} <= keys for keys, _ in rows):
            traits |= trait
    every = {key for keys, _ in rows for key in keys}
    if not any(key.startswith("Composite") for key in every):
        for kind, trait in _HOST_ONLY.items():
            if f"{kind}CPU" in every and f"{kind}CUDA" not in every:
                traits |= trait
    return traits


_LINE = re.compile(r"^    (?P<keys>[A-Za-z, ]+): *(?P<function>\w+)")


class Trait(IntFlag):
    """What the native library is told; the values are those of `Trait` in native/operators.h."""

    HAS_ROW = 1
    RANDOM = 2
    FREE = 4
    HOST_OUTPUTS = 8
    FIRST_ON_DEVICE = 16
    ONE_DEVICE = 32
    COUNTED_BY_PYTHON = 128
    SAME_CODE_SPARSE = 512
    SAME_CODE_COMPRESSED = 1024
    SAME_CODE_NESTED = 2048
    ROW_FOR_SPARSE = 4096
    ROW_FOR_HOST = 8192
    LIST_OF_MANY = 16384
    ROW_BY_FORM = 32768
    HOST_ONLY = 1 << 19
    HOST_ONLY_COMPRESSED = 1 << 20
    HOST_ONLY_NESTED = 1 << 21
    HOST_ONLY_QUANTIZED = 1 << 22
    FLOPS_MM = 1 << 16
    FLOPS_ADDMM = 2 << 16
    FLOPS_BMM = 3 << 16
    FLOPS_BADDBMM = 4 << 16


_FREE = frozenset(
    {
        "aten.resize_",
        "aten.resize_as_",
        "aten.set_",
        "aten.is_same_size",
        "aten.record_stream",
        "aten._assert_async",
        "aten._nested_tensor_size",
        "aten._nested_tensor_strides",
        "aten._nested_tensor_storage_offsets",
        "aten.is_pinned",
        "aten._sparse_coo_tensor_unsafe",
        "aten._sparse_coo_tensor_with_dims",
        "aten._sparse_coo_tensor_with_dims_and_tensors",
        "aten._coalesced_",
        "aten._indices",
        "aten._values",
        "aten.dense_dim",
        "aten.sparse_dim",
        "aten._dimI",
        "aten._dimV",
        "aten._nnz",
        "aten.is_coalesced",
        "aten.crow_indices",
        "aten.col_indices",
        "aten.ccol_indices",
        "aten.row_indices",
        "aten.values",
        "aten.indices",
        "aten.unfold",
        "aten.alias",
        "aten.q_scale",
        "aten.q_zero_point",
        "aten.qscheme",
        "aten.q_per_channel_axis",
        "aten._fused_sdp_choice",
        "aten._empty_affine_quantized",
        "aten._empty_per_channel_affine_quantized",
        "aten._sparse_compressed_tensor_unsafe",
        "aten._nested_view_from_buffer",
    }
)
_HOST_OUTPUTS = frozenset(
    {
        "aten._nested_tensor_size",
        "aten._nested_tensor_strides",
        "aten._nested_tensor_storage_offsets",
        "aten.q_per_channel_scales_host",
    }
)
"""They describe a tensor on the device by tensors on the host."""
_FIRST_ON_DEVICE = frozenset({"aten._pack_padded_sequence"})
"""Only the first output is on the device: batch sizes stay on the host."""
_MIXES_DEVICES = frozenset(
    {
        "aten.index",
        "aten._unsafe_index",
        "aten.index_put",
        "aten.index_put_",
        "aten._index_put_impl_",
        "aten._unsafe_index_put",
        "aten.is_same_size",
        "aten.set_",
        "aten.resize_as_",
        "aten._pack_padded_sequence",
        "aten._pack_padded_sequence_backward",
        "aten._ctc_loss",
        "aten._ctc_loss_backward",
        "aten._use_cudnn_ctc_loss",
        "aten._use_miopen_ctc_loss",
        "aten._fused_sdp_choice",
        "aten._thnn_fused_lstm_cell",
        "aten.convolution",
        "aten.convolution_backward",
        "aten.fill_",
    }
)
_PRODUCTS = {
    "aten.mm": Trait.FLOPS_MM,
    "aten.addmm": Trait.FLOPS_ADDMM,
    "aten.bmm": Trait.FLOPS_BMM,
    "aten.baddbmm": Trait.FLOPS_BADDBMM,
}


_DTYPES = {
    0: torch.uint8,
    1: torch.int8,
    2: torch.int16,
    3: torch.int32,
    4: torch.int64,
    5: torch.float16,
    6: torch.float32,
    7: torch.float64,
    8: torch.complex32,
    9: torch.complex64,
    10: torch.complex128,
    11: torch.bool,
    12: torch.qint8,
    13: torch.quint8,
    14: torch.qint32,
    15: torch.bfloat16,
}
"""By the numbers of `c10::ScalarType`."""


@dataclass(frozen=True, slots=True)
class OverloadTraits:
    """What Python needs of one overload when it is asked about a call of it."""

    name: str
    overload: Any
    row: BlockingOp | None
    positions: Mapping[str, int]
    """Argument names to positions."""
    dtypes: tuple[int, ...]
    """Where its types are among the arguments: C++ hands them over as numbers."""
    flops: Flops | None
    traits: Trait

    def arguments(self) -> Sequence[Any]:
        """Return what the call that the library asks about was given."""
        given: Sequence[Any] = torch.ops.syncwatch.arguments()
        if not self.dtypes:
            return given
        values = list(given)
        for place in self.dtypes:
            values[place] = _DTYPES.get(values[place], values[place])
        return values


def traits_of(full: str) -> OverloadTraits:
    """Return what is known of the overload called `full`, as `aten::add.Tensor`."""
    # The families enter their rows on import; naming them keeps the import honest.
    assert rows.FAMILIES
    qualified, _, overload_name = full.partition(".")
    namespace, _, bare = qualified.partition("::")
    overload = getattr(getattr(getattr(torch.ops, namespace), bare), overload_name or "default")
    name = f"{namespace}.{bare}"
    row = row_of(name)
    product = _PRODUCTS.get(name)
    flops = None if product is not None else flops_of(overload, name)
    arguments = overload._schema.arguments
    return OverloadTraits(
        name=name,
        overload=overload,
        row=row,
        positions={argument.name: index for index, argument in enumerate(arguments)},
        dtypes=tuple(place for place, each in enumerate(arguments) if "ScalarType" in str(each.real_type)),
        flops=flops,
        traits=_traits(full, name, overload, row, flops) | (product or Trait(0)),
    )


def _traits(full: str, name: str, overload: Any, row: BlockingOp | None, flops: Flops | None) -> Trait:
    traits = same_code_of(full)
    choices = {
        Trait.HAS_ROW: row is not None,
        Trait.ROW_FOR_SPARSE: row is not None and row.sparse,
        Trait.ROW_FOR_HOST: row is not None and row.host,
        Trait.ROW_BY_FORM: row is not None and row.by_form,
        Trait.LIST_OF_MANY: name.startswith("aten._foreach_"),
        Trait.RANDOM: torch.Tag.nondeterministic_seeded in overload.tags,
        Trait.FREE: name in _FREE,
        Trait.HOST_OUTPUTS: name in _HOST_OUTPUTS,
        Trait.FIRST_ON_DEVICE: name in _FIRST_ON_DEVICE,
        Trait.ONE_DEVICE: name.startswith("aten.") and name not in _MIXES_DEVICES and "_foreach_" not in name,
        Trait.COUNTED_BY_PYTHON: flops is not None,
    }
    for trait, holds in choices.items():
        if holds:
            traits |= trait
    return Trait(traits)
