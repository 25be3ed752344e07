"""Answers: what is known of an operator before it runs? One plan an overload, made once and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch

from syncwatch.sense.virtual import blocking_rows
from syncwatch.sense.virtual.blocking_ops import BlockingOp, row_of
from syncwatch.sense.virtual.flops import Flops, flops_of


class OpKind(Enum):
    """How the dispatch mode treats an operator."""

    COMPOSITE = "composite"
    """Made of others; torch takes it apart before a mode sees it, except in inference mode and custom operators."""
    VIEW = "view"
    """Outputs share storage with inputs: nothing is launched, residency follows by itself."""
    FREE = "free"
    """Makes tensors or looks at them without a kernel."""
    COPY = "copy"
    """`copy_`: may cross between host and device."""
    KERNEL = "kernel"


_FREE = frozenset(
    {
        "aten.detach",
        "aten.detach_",
        "aten.empty",
        "aten.empty_like",
        "aten.empty_strided",
        "aten.empty_permuted",
        "aten.new_empty",
        "aten.new_empty_strided",
        "aten.is_same_size",
        "aten.lift",
        "aten.lift_fresh",
        "aten.resize_",
        "aten.resize_as_",
        "aten.set_",
        "aten._reshape_alias",
        "aten._unsafe_view",
        "aten.sym_size",
        "aten.record_stream",
        "aten._assert_async",
        "aten._nested_tensor_size",
        "aten._nested_tensor_strides",
        "aten._nested_tensor_storage_offsets",
        "aten._local_scalar_dense",
        "aten.is_pinned",
        "aten._sparse_coo_tensor_unsafe",
        "aten._coalesced_",
        "aten._indices",
        "aten._values",
        "aten.dense_dim",
        "aten.sparse_dim",
        "aten._nnz",
        "aten.is_coalesced",
    }
)
HOST_OUTPUTS = frozenset(
    {"aten._nested_tensor_size", "aten._nested_tensor_strides", "aten._nested_tensor_storage_offsets"}
)
"""They describe a tensor on the device by tensors on the host."""
FIRST_ON_DEVICE = frozenset({"aten._pack_padded_sequence"})
"""Only the first output is on the device: batch sizes stay on the host."""
_MIXES_DEVICES = frozenset(
    {
        "aten.copy_",
        "aten._to_copy",
        "aten.index",
        "aten._unsafe_index",
        "aten.index_put",
        "aten.index_put_",
        "aten._index_put_impl_",
        "aten._unsafe_index_put",
        "aten.is_same_size",
        "aten.set_",
        "aten.resize_as_",
        "aten.new_empty",
        "aten._pack_padded_sequence",
        "aten._pack_padded_sequence_backward",
        "aten._ctc_loss",
        "aten._ctc_loss_backward",
        "aten._use_cudnn_ctc_loss",
        "aten._foreach_copy_",
        "aten._foreach_addcdiv_",
        "aten._foreach_addcmul_",
        "aten._fused_sdp_choice",
        "aten._thnn_fused_lstm_cell",
    }
)


@dataclass(frozen=True, slots=True)
class OpPlan:
    """What is known of one overload."""

    name: str
    call: Any
    """The overload without its Python wrapper."""
    kind: OpKind
    row: BlockingOp | None
    positions: Mapping[str, int]
    """Argument names to positions."""
    makes_tensors: bool
    """Whether it returns new tensors, not only what it was given."""
    random: bool
    """Whether it draws from a generator."""
    checks_devices: bool
    """Whether CUDA refuses operands on different devices."""
    flops: Flops | None
    custom: bool
    """Whether it is not torch's own."""
    plain: bool
    """Whether it is a kernel and nothing else: no random numbers, all outputs new and on the device, and no row, or
    one for sparse tensors alone."""


PLANS: dict[Any, OpPlan] = {}


def plan_of(overload: Any) -> OpPlan:
    """Return the plan of an overload."""
    plan = PLANS.get(overload)
    if plan is None:
        plan = PLANS[overload] = _make(overload)
    return plan


def _make(overload: Any) -> OpPlan:
    # The families enter their rows on import; naming them keeps the import honest.
    assert blocking_rows.FAMILIES
    namespace, _, bare = overload._schema.name.partition("::")
    name = f"{namespace}.{bare}"
    arguments = overload._schema.arguments
    kind, row = _kind(overload, name), row_of(name)
    makes_tensors = any(result.alias_info is None for result in overload._schema.returns)
    random = torch.Tag.nondeterministic_seeded in overload.tags
    custom = namespace not in ("aten", "prim", "prims")
    blocking = row is not None and not row.sparse
    special = blocking or random or custom or name in HOST_OUTPUTS or name in FIRST_ON_DEVICE
    return OpPlan(
        name=name,
        call=getattr(overload, "_op", overload),
        kind=kind,
        row=row,
        positions={argument.name: index for index, argument in enumerate(arguments)},
        makes_tensors=makes_tensors,
        random=random,
        checks_devices=namespace == "aten" and name not in _MIXES_DEVICES,
        flops=flops_of(overload, name),
        custom=custom,
        plain=kind is OpKind.KERNEL and makes_tensors and not special,
    )


def _kind(overload: Any, name: str) -> OpKind:
    if name == "aten.copy_":
        return OpKind.COPY
    try:
        composite = torch._C._dispatch_has_kernel_for_dispatch_key(overload.name(), "CompositeImplicitAutograd")
    except RuntimeError:
        # `aten.dim` of a nested tensor is known to TorchScript and not to the dispatcher, in torch 2.9 to 2.11.
        return OpKind.VIEW
    if composite:
        return OpKind.COMPOSITE
    if overload.is_view:
        return OpKind.VIEW
    return OpKind.FREE if name in _FREE else OpKind.KERNEL
