from __future__ import annotations

import pytest
import torch

from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.sense.virtual import blocking_rows
from syncwatch.sense.virtual.blocking_ops import OpCall, Reason, blocks, row_of, table
from syncwatch.sense.virtual.op_plans import plan_of
from syncwatch.sense.virtual.residency import Memory, mark_resident
from syncwatch.sense.virtual.runtime_calls import WAIT_DEVICE, RuntimeCall, read, read_pageable, upload, upload_pinned

aten = torch.ops.aten


def on_device(tensor: torch.Tensor) -> torch.Tensor:
    mark_resident(tensor, Memory(1 << 30))
    return tensor


def calls(overload: object, *args: object, **kwargs: object) -> list[RuntimeCall]:
    plan = plan_of(overload)
    assert plan.row is not None
    return list(plan.row.calls(OpCall(plan.name, args, kwargs, plan.positions)))


MASK = on_device(torch.tensor([True, False, True, False]))
X = on_device(torch.arange(4.0))
INTS = on_device(torch.tensor([1, 2, 3, 0]))


def test_a_second_row_for_an_operator_is_refused() -> None:
    with pytest.raises(ValueError, match=r"aten\.nonzero has two rows"):
        blocks("aten.nonzero", reason=Reason.SIZE, why="again.")(lambda call: ())


def test_every_row_names_an_operator_of_torch_and_says_why() -> None:
    assert blocking_rows.FAMILIES
    for name, row in table().items():
        assert row.why.endswith("."), name
        namespace, _, bare = name.partition(".")
        if namespace == "aten":
            assert hasattr(aten, bare), name


def test_operators_without_a_row_never_wait() -> None:
    assert row_of("aten.cumsum") is None


def test_a_scalar_is_read_through_pinned_memory() -> None:
    assert calls(aten._local_scalar_dense.default, X[0]) == [read(4)]


def test_a_read_is_a_copy_that_the_stream_is_waited_for() -> None:
    assert read(8) == RuntimeCall(Direction.D2H, HostMemory.PINNED, 8, SyncKind.STREAM)


def test_masks_count_and_indices_do_not() -> None:
    assert calls(aten.index.Tensor, X, [MASK]) == [read(8)]
    assert calls(aten.index.Tensor, X, [INTS]) == []
    assert calls(aten.index.Tensor, X, [None, INTS]) == []


def test_indices_on_the_host_are_uploaded() -> None:
    assert calls(aten.index.Tensor, X, [torch.tensor([0, 1])]) == [upload(16)]
    assert calls(aten.index.Tensor, X, [MASK.clone()]) == [upload_pinned(16)]


def test_a_host_tensor_refuses_indices_on_the_device() -> None:
    with pytest.raises(RuntimeError, match="same device as the indexed tensor"):
        calls(aten.index.Tensor, torch.arange(4.0), [INTS])


def test_a_number_through_one_mask_is_a_masked_fill() -> None:
    assert calls(aten.index_put_.default, X, [MASK], torch.tensor(1.0)) == []
    assert calls(aten.index_put_.default, X, [INTS], torch.tensor(1.0)) == [upload(4)]
    assert calls(aten.index_put_.default, X, [MASK], X[:2]) == [read(8)]


def test_repeats_are_summed_unless_the_sum_is_given() -> None:
    assert calls(aten.repeat_interleave.Tensor, INTS) == [read(8), read(1)]
    assert calls(aten.repeat_interleave.Tensor, INTS, output_size=6) == []


def test_bytes_are_not_checked_to_be_negative() -> None:
    assert calls(aten.bincount.default, INTS) == [read_pageable(8), read(8)]
    assert calls(aten.bincount.default, on_device(torch.zeros(2, dtype=torch.uint8))) == [read(1)]


def test_a_histogram_with_a_range_reads_nothing() -> None:
    assert len(calls(aten.histc.default, X)) == 2
    assert calls(aten.histc.default, X, 10, 0, 1) == []


def test_few_test_elements_are_compared_and_many_sorted() -> None:
    assert calls(aten.isin.Tensor_Tensor, X, X[:1]) == []
    assert calls(aten.isin.Tensor_Tensor, X, on_device(torch.arange(64.0))) == [read(8), read(8), upload(1)]


def test_tensors_of_other_shapes_are_unequal_without_a_look() -> None:
    assert calls(aten.equal.default, X, X[:2]) == []
    assert calls(aten.equal.default, X, X) == []
    assert calls(aten.equal.default, X, on_device(X.clone())) == [read(1)]


def test_only_matrices_that_are_not_square_wait_for_their_factors() -> None:
    assert calls(aten.linalg_lu_factor_ex.default, on_device(torch.eye(3))) == []
    assert calls(aten.linalg_lu_factor_ex.default, on_device(torch.ones(3, 5))) == [WAIT_DEVICE]


def test_grouped_products_read_their_offsets_unless_all_is_bfloat16() -> None:
    offsets = on_device(torch.tensor([2, 4], dtype=torch.int32))
    left, right = on_device(torch.ones(4, 8)), on_device(torch.ones(2, 8, 8))

    assert calls(aten._grouped_mm.default, left, right, offsets) == [read_pageable(8)]
    assert calls(aten._grouped_mm.default, left.bfloat16(), right.bfloat16(), offsets) == []
