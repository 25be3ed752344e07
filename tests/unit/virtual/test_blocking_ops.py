"""Rows of the table of waits: what an operator asks of the runtime for its arguments."""

from __future__ import annotations

import pytest
import torch

from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.sense.virtual.operators import rows
from syncwatch.sense.virtual.operators.table import (
    ALLOCATION,
    WAIT,
    WAIT_DEVICE,
    RuntimeCall,
    WaitReason,
    blocking_ops,
    blocks,
    read,
    read_pageable,
    row_of,
    upload,
    upload_pinned,
)
from tests.helpers.row_calls import calls

aten = torch.ops.aten


pytestmark = pytest.mark.usefixtures("module_device")


@pytest.fixture
def x() -> torch.Tensor:
    return torch.arange(4.0, device="cuda")


@pytest.fixture
def mask() -> torch.Tensor:
    return torch.tensor([True, False, True, False], device="cuda")


@pytest.fixture
def ints() -> torch.Tensor:
    return torch.tensor([1, 2, 3, 0], device="cuda")


def test_a_second_row_for_an_operator_is_refused() -> None:
    with pytest.raises(ValueError, match=r"aten\.nonzero has two rows"):
        blocks("aten.nonzero", reason=WaitReason.SIZE, why="again.")(lambda call: ())


def test_every_row_names_an_operator_of_torch_and_says_why() -> None:
    assert rows.FAMILIES
    for name, row in blocking_ops().items():
        assert row.why.endswith("."), name
        namespace, _, bare = name.partition(".")
        if namespace == "aten":
            assert hasattr(aten, bare), name


def test_operators_without_a_row_never_wait() -> None:
    assert row_of("aten.cumsum") is None


def test_a_scalar_is_read_through_pinned_memory(x: torch.Tensor) -> None:
    assert calls(aten._local_scalar_dense.default, x[0]) == [read(4)]


def test_a_read_is_a_copy_that_the_stream_is_waited_for() -> None:
    assert read(8) == RuntimeCall(Direction.D2H, HostMemory.PINNED, 8, SyncKind.STREAM)


def test_masks_count_and_indices_do_not(x: torch.Tensor, mask: torch.Tensor, ints: torch.Tensor) -> None:
    assert calls(aten.index.Tensor, x, [mask]) == [read(8)]
    assert calls(aten.index.Tensor, x, [ints]) == []
    assert calls(aten.index.Tensor, x, [None, ints]) == []


def test_indices_on_the_host_are_uploaded(x: torch.Tensor, mask: torch.Tensor) -> None:
    assert calls(aten.index.Tensor, x, [torch.tensor([0, 1])]) == [upload(16)]
    assert calls(aten.index.Tensor, x, [mask.cpu().pin_memory()]) == [upload_pinned(16)]


def test_a_host_tensor_refuses_indices_on_the_device(ints: torch.Tensor) -> None:
    with pytest.raises(RuntimeError, match="same device as the indexed tensor"):
        calls(aten.index.Tensor, torch.arange(4.0), [ints])


def test_a_number_through_one_mask_is_a_masked_fill(x: torch.Tensor, mask: torch.Tensor, ints: torch.Tensor) -> None:
    assert calls(aten.index_put_.default, x, [mask], torch.tensor(1.0)) == []
    assert calls(aten.index_put_.default, x, [ints], torch.tensor(1.0)) == [upload(4)]
    assert calls(aten.index_put_.default, x, [mask], x[:2]) == [read(8)]


def test_repeats_are_summed_unless_the_sum_is_given(ints: torch.Tensor) -> None:
    assert calls(aten.repeat_interleave.Tensor, ints) == [read(8), read(1)]
    assert calls(aten.repeat_interleave.Tensor, ints, output_size=6) == []


def test_bytes_are_not_checked_to_be_negative(ints: torch.Tensor) -> None:
    assert calls(aten.bincount.default, ints) == [read_pageable(8), read(8)]
    assert calls(aten.bincount.default, torch.zeros(2, dtype=torch.uint8).cuda()) == [read(1)]


def test_a_histogram_with_a_range_reads_nothing(x: torch.Tensor) -> None:
    assert len(calls(aten.histc.default, x)) == 2
    assert calls(aten.histc.default, x, 10, 0, 1) == []


def test_few_test_elements_are_compared_and_many_sorted(x: torch.Tensor) -> None:
    assert calls(aten.isin.Tensor_Tensor, x, x[:1]) == []
    assert calls(aten.isin.Tensor_Tensor, x, torch.arange(64.0).cuda()) == [read(8), read(8), upload(1)]


def test_tensors_of_other_shapes_are_unequal_without_a_look(x: torch.Tensor) -> None:
    assert calls(aten.equal.default, x, x[:2]) == []
    assert calls(aten.equal.default, x, x) == []
    assert calls(aten.equal.default, x, x.clone()) == [read(1)]


def test_only_matrices_that_are_not_square_wait_for_their_factors() -> None:
    assert calls(aten.linalg_lu_factor_ex.default, torch.eye(3).cuda()) == []
    assert calls(aten.linalg_lu_factor_ex.default, torch.ones(3, 5).cuda()) == [
        *(WAIT_DEVICE, ALLOCATION, ALLOCATION, ALLOCATION),
        *(WAIT, ALLOCATION, ALLOCATION),
        *(WAIT, ALLOCATION),
    ]


def test_grouped_products_read_their_offsets_unless_all_is_bfloat16() -> None:
    offsets = torch.tensor([2, 4], dtype=torch.int32).cuda()
    left, right = torch.ones(4, 8).cuda(), torch.ones(2, 8, 8).cuda()

    assert calls(aten._grouped_mm.default, left, right, offsets) == [read_pageable(8)]
    assert calls(aten._grouped_mm.default, left.bfloat16(), right.bfloat16(), offsets) == []
