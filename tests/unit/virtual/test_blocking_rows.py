"""Rows that depend on layouts, sizes and values, one operator at a time."""

from __future__ import annotations

import pytest
import torch
from torch.torch_version import TorchVersion

from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.sense.virtual.operators.table import (
    ALLOCATION,
    WAIT,
    WAIT_DEVICE,
    OpCall,
    RuntimeCall,
    read,
    read_pageable,
    row_of,
    upload,
)
from syncwatch.sense.virtual.operators.traits import Trait, traits_of
from tests.helpers.row_calls import calls, waits

aten = torch.ops.aten
COALESCING = [WAIT, WAIT, WAIT, WAIT, read_pageable(8)]


pytestmark = pytest.mark.usefixtures("module_device")


def coo(coalesced: bool = False) -> torch.Tensor:
    tensor = torch.sparse_coo_tensor(torch.tensor([[0, 1, 1], [2, 0, 0]]), torch.tensor([1.0, 2.0, 3.0]), (3, 3))
    return (tensor.coalesce() if coalesced else tensor).cuda()


def csr() -> torch.Tensor:
    return torch.eye(4).to_sparse_csr().cuda()


def test_a_sorter_is_checked_at_both_ends() -> None:
    edges, sorter = torch.arange(4.0).cuda(), torch.arange(4).cuda()

    assert calls(aten.searchsorted.Tensor, edges, edges) == []
    assert calls(aten.searchsorted.Tensor, edges, edges, sorter=sorter) == [read(8), read(8)]


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((2048,), torch.float32, 0),
        ((2049,), torch.float32, 15),
        ((2500,), torch.float32, 13),
        ((16, 3000), torch.int64, 208),
        ((2049, 3), torch.int64, 0),
        ((2049,), torch.bool, 5),
    ],
)
def test_the_mode_of_a_long_slice_is_counted_by_thrust(
    shape: tuple[int, ...], dtype: torch.dtype, expected: int
) -> None:
    assert waits(calls(aten.mode.default, torch.zeros(shape, dtype=dtype).cuda())) == expected


def test_distinct_rows_wait_for_what_is_asked_besides() -> None:
    rows = torch.zeros(4, 2).cuda()

    assert calls(aten.unique_dim.default, rows, 0) == [WAIT, WAIT, read_pageable(8)]
    assert waits(calls(aten.unique_dim.default, rows, 0, True, True)) == 6
    assert waits(calls(aten.unique_dim.default, rows, 0, True, True, True)) == 7
    assert calls(aten.unique_consecutive.default, rows, False, False, 0) == [WAIT, read_pageable(8)]


def test_only_what_is_not_coalesced_is_coalesced() -> None:
    dense = torch.ones(3, 3).cuda()

    assert calls(aten._sparse_addmm.default, dense, coo(), dense) == COALESCING
    assert calls(aten.mm.default, coo(), dense) == COALESCING
    assert calls(aten.addmm.default, dense, coo(True), dense) == []
    assert calls(aten.sqrt.default, coo()) == COALESCING
    assert calls(aten.sqrt.default, dense) == []


def test_two_sparse_matrices_write_their_indices_with_thrust() -> None:
    work = [RuntimeCall(Direction.D2H, HostMemory.PAGEABLE, size, None) for size in (4, 16, 4, 4, 4, 4)]

    assert calls(aten.mm.default, coo(), coo(True)) == [*COALESCING, *work, WAIT, WAIT]
    assert calls(aten._sparse_sparse_matmul.default, coo(True), coo(True)) == [*work, WAIT, WAIT]


def test_a_sparse_sum_is_coalesced_once_it_stores_more_than_a_dense_one() -> None:
    tensor = torch.sparse_coo_tensor(torch.zeros(1, 3, dtype=torch.int64), torch.ones(3), (4,)).cuda()

    assert calls(aten.add.Tensor, tensor, tensor) == COALESCING
    assert calls(aten.add.Tensor, coo(), coo()) == []
    assert calls(aten.add.Tensor, torch.ones(4).cuda(), tensor) == []


def test_a_compressed_matrix_is_added_to_a_dense_one_with_thrust() -> None:
    assert calls(aten.add.Tensor, torch.ones(4, 4).cuda(), csr()) == [WAIT]
    assert calls(aten.add.Tensor, csr(), csr()) == []


def test_a_reduced_compressed_matrix_counts_what_it_stores() -> None:
    assert calls(aten._sparse_csr_sum.dim_dtype, csr(), [0]) == [read(8), upload(16)]
    assert calls(aten._sparse_csr_sum.dim_dtype, csr(), [1]) == [read(8)]
    assert calls(aten._sparse_csr_sum.dim_dtype, csr(), [0, 1]) == [upload(16)]


def test_gradients_of_other_indices_are_matched_on_the_host() -> None:
    overload = aten._sparse_softmax_backward_data.default
    output, other = torch.ones(3, 2).to_sparse(1).cuda(), torch.ones(2, 2).to_sparse(1).cuda()
    grad = torch.sparse_coo_tensor(other._indices(), other._values(), (3, 2), is_coalesced=True)

    assert calls(overload, output, output, 1, output)[-1] == read(1)
    assert calls(overload, grad, output, 1, output)[-2:] == [read_pageable(24), read_pageable(16)]


def test_a_scalar_on_the_host_is_read_without_a_wait() -> None:
    assert calls(aten._local_scalar_dense.default, torch.tensor(3)) == []


def test_a_sparse_batch_waits_for_the_device() -> None:
    batch = torch.eye(3).repeat(2, 1, 1).to_sparse().cuda()

    assert calls(aten.bmm.default, batch, torch.ones(2, 3, 3).cuda()) == [WAIT_DEVICE]
    assert calls(aten.bmm.default, torch.ones(2, 3, 3).cuda(), torch.ones(2, 3, 3).cuda()) == []


def test_a_sparse_softmax_waits_at_each_stage() -> None:
    assert waits(calls(aten._sparse_softmax.default, coo(True), 1, False)) == 7
    assert waits(calls(aten._sparse_softmax.default, coo(), 1, False)) == 12
    hybrid = torch.ones(3, 2).to_sparse(1).cuda()
    assert calls(aten._sparse_softmax.default, hybrid, 1, False) == []


def test_between_sparse_layouts_only_some_wait() -> None:
    assert calls(aten._to_sparse_csr.default, coo(True)) == []
    assert calls(aten._to_sparse_csr.default, coo()) == COALESCING
    assert calls(aten._to_sparse_csc.default, coo(True)) == COALESCING
    assert calls(aten._to_sparse_csr.default, torch.eye(3).cuda()) == [read(8), read(8)]
    assert calls(aten._to_sparse.default, csr()) == []
    assert waits(calls(aten._to_sparse_bsr.default, csr(), [2, 2])) == 6


def test_elements_are_selected_by_count_along_indices_only() -> None:
    index = torch.tensor([0, 1]).cuda()

    assert calls(aten.index_select.default, coo(True), 0, index) == [read(8)]
    assert calls(aten.index_select.default, torch.ones(3, 3).cuda(), 0, index) == []
    assert calls(aten.narrow_copy.default, coo(True), 0, 0, 2) == [read(8), read(8)]


def test_the_order_of_sparse_dimensions_is_uploaded() -> None:
    assert calls(aten.permute.default, coo(True), [1, 0]) == [upload(16)]
    assert calls(aten.permute.default, coo(True), [0, 1]) == []


def test_a_row_of_a_compressed_matrix_is_found_by_its_ends() -> None:
    assert calls(aten.select.int, csr(), 0, 1) == [read_pageable(16)]
    # One element in the column: its place is read alone.
    assert calls(aten.select.int, csr(), 1, 1) == [read(8), read(8)]
    filled = torch.ones(3, 2).to_sparse_csr().cuda()
    assert calls(aten.select.int, filled, 1, 0) == [read(8), read_pageable(16), read(1), read(8)]


@pytest.mark.parametrize(
    ("norm", "expected"), [(1e-8, 2), (1e-4, 2), (1e-2, 4), (0.5, 6), (1.0, 3), (5.0, 6), (float("nan"), 1)]
)
def test_a_matrix_exponential_depends_on_the_norm(norm: float, expected: int) -> None:
    assert waits(calls(aten.linalg_matrix_exp.default, torch.eye(5).cuda() * norm)) == expected


def test_a_batch_of_exponentials_takes_the_highest_degree() -> None:
    assert waits(calls(aten.linalg_matrix_exp.default, torch.eye(5).repeat(4, 1, 1).cuda())) == 3


MAGMA = [
    *(WAIT_DEVICE, ALLOCATION, ALLOCATION, ALLOCATION),
    *(WAIT, ALLOCATION, ALLOCATION),
    *(WAIT, ALLOCATION),
]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((200, 200), []),
        ((16, 128, 128), []),
        ((17, 32, 32), [WAIT_DEVICE, WAIT]),
        ((17, 33, 33), MAGMA),
        ((64, 128, 128), MAGMA),
        ((4, 200, 200), MAGMA),
    ],
)
def test_large_batches_are_factored_by_magma(shape: tuple[int, ...], expected: list[RuntimeCall]) -> None:
    matrix = torch.eye(shape[-1]).expand(shape).cuda()

    assert calls(aten.linalg_lu_factor_ex.default, matrix) == expected
    assert calls(aten._linalg_det.default, matrix) == expected
    assert calls(aten.linalg_inv_ex.default, matrix, check_errors=True) == [*expected, read(1)]


@pytest.mark.parametrize(
    ("version", "rows", "sides", "options", "expected"),
    [
        ("2.11.0", 3, 11, {}, 0),
        ("2.11.0", 3, 342, {}, 1),
        ("2.11.0", 3, 683, {}, 1),
        ("2.11.0", 3, 21845, {}, 0),
        ("2.11.0", 3, 342, {"adjoint": True}, 0),
        ("2.11.0", 9, 342, {}, 0),
        ("2.12.0", 3, 342, {}, 0),
    ],
)
def test_many_right_sides_of_a_small_matrix_were_solved_by_magma(
    monkeypatch: pytest.MonkeyPatch, version: str, rows: int, sides: int, options: dict[str, bool], expected: int
) -> None:
    factors, pivots = torch.eye(rows).cuda(), torch.arange(1, rows + 1, dtype=torch.int32).cuda()
    right = torch.ones(rows, sides).cuda()
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))

    assert waits(calls(aten.linalg_lu_solve.default, factors, pivots, right, **options)) == expected


def test_the_singular_values_of_large_matrices_are_found_in_sweeps() -> None:
    small, large = torch.eye(32).cuda(), torch.eye(64).cuda()

    # Measured on an H200: 2 waits up to 32 rows, 11 for 64, 2 with `gesvd`.
    assert calls(aten._linalg_svd.default, small) == [read_pageable(4), read(1)]
    assert waits(calls(aten._linalg_svd.default, large)) == 12
    assert calls(aten._linalg_svd.default, large, driver="gesvd") == [read_pageable(4), read(1)]


@pytest.mark.parametrize(("shape", "expected"), [((31, 31), 2), ((32, 32), 9), ((512, 512), 14), ((3, 64, 64), 28)])
def test_eigenvalues_of_large_matrices_are_found_in_sweeps(shape: tuple[int, ...], expected: int) -> None:
    # Measured on an H200, float32: 2, 9, 14 and 28 waits.
    matrix = torch.zeros(shape).cuda()

    assert waits(calls(aten._linalg_eigh.default, matrix)) == expected


def test_channels_check_their_zero_points() -> None:
    values, scales, points = torch.ones(2, 2).cuda(), torch.ones(2).cuda(), torch.zeros(2, dtype=torch.int64).cuda()

    assert calls(aten.quantize_per_channel.default, values, scales, points, 0, torch.qint8) == [read(1), read(1)]
    assert calls(aten.quantize_per_channel.default, values, torch.ones(2), points, 0, torch.qint8)[0] == upload(16)
    assert calls(aten.quantize_per_tensor.default, values, 1.0, 0, torch.qint8) == []
    assert calls(aten.quantize_per_tensor.tensor_qparams, values, scales[0], points[0], torch.qint8) == [
        read(4),
        read(8),
    ]


def test_fake_quantization_reads_integers_only() -> None:
    values, scales = torch.ones(2, 2).cuda(), torch.ones(2).cuda()
    points = torch.zeros(2, dtype=torch.int32).cuda()

    assert calls(aten.fake_quantize_per_channel_affine_cachemask.default, values, scales, points, 0, 0, 9) == [
        read(4),
        read(4),
    ]
    assert calls(aten.fake_quantize_per_channel_affine_cachemask.default, values, scales, scales, 0, 0, 9) == []


def test_columns_are_turned_to_rows_for_a_product() -> None:
    dense, columns = torch.ones(4, 4).cuda(), torch.eye(4).to_sparse_csc().cuda()

    assert calls(aten.addmm.default, dense, csr(), dense) == []
    assert calls(aten.addmm.default, dense, columns, dense) == [upload(8)]
    assert calls(aten.addmm.default, dense, dense, csr()) == [upload(8)]
    assert calls(aten.mm.default, columns, columns) == [upload(8), upload(8)]
    assert [call.size for call in calls(aten.mm.default, csr(), csr())] == [4, 16, 4, 4, 4]
    assert {call.wait for call in calls(aten.mm.default, csr(), csr())} == {SyncKind.COPY}
    assert calls(aten.addmv.default, dense[0], columns, dense[0]) == [upload(8)]


def test_a_hybrid_tensor_finds_its_distinct_rows() -> None:
    filled, empty = torch.ones(3, 2).cuda(), torch.zeros(3, 2).cuda()

    assert calls(aten._to_sparse.sparse_dim, filled, 1) == [read(8), WAIT, WAIT, read_pageable(8)]
    assert calls(aten._to_sparse.sparse_dim, empty, 1) == [read(8)]
    assert calls(aten._to_sparse.sparse_dim, filled, 2) == [read(8)]


@pytest.mark.parametrize(("dtype", "more"), [(torch.float32, 100), (torch.float64, 200), (torch.complex64, 200)])
def test_eigenvalues_of_large_matrices_iterate_on_the_host(dtype: torch.dtype, more: int) -> None:
    few, many = torch.eye(65, dtype=dtype).cuda(), torch.eye(66, dtype=dtype).cuda()

    assert waits(calls(aten.linalg_eig.default, many)) - waits(calls(aten.linalg_eig.default, few)) == more


def test_a_nested_tensor_of_padded_ones_sends_its_sizes() -> None:
    padded, sizes = torch.ones(2, 3, 4).cuda(), torch.tensor([[1, 4], [3, 4]])

    assert waits(calls(aten._nested_from_padded.default, padded, sizes)) == 0
    assert calls(aten._nested_from_padded.default, padded.double().cuda(), sizes) == [read(8)]


def test_a_mask_of_a_nested_tensor_is_compared() -> None:
    padded, mask = torch.ones(2, 3, 4).cuda(), torch.ones(2, 3, dtype=torch.bool).cuda()

    assert calls(aten._nested_tensor_from_mask_left_aligned.default, padded, mask) == [read(1)]
    assert calls(aten._nested_tensor_from_mask.default, padded, mask, False) == [read_pageable(32)]


def test_filling_reads_a_value_for_a_tensor_on_the_host_only() -> None:
    value = torch.tensor(1.0).cuda()

    assert calls(aten.fill_.Tensor, torch.zeros(3).cuda(), value) == []
    assert calls(aten.fill_.Tensor, torch.zeros(3), value) == [read(4)]


def test_lengths_are_read_until_one_is_too_long_for_cudnn() -> None:
    scores, targets = torch.zeros(5, 3, 4).cuda(), torch.ones(9, dtype=torch.int32).cuda()
    frames = torch.tensor([5, 5, 5], dtype=torch.int32).cuda()
    fitting, long = (torch.tensor(each, dtype=torch.int32).cuda() for each in ([3, 3, 3], [3, 6, 3]))
    overload = aten._use_cudnn_ctc_loss.Tensor

    assert calls(overload, scores, targets, frames, fitting, 0) == [read_pageable(24)] * 7
    assert calls(overload, scores, targets, frames, long, 0) == [read_pageable(24)] * 5
    assert calls(overload, scores, targets, frames.cpu(), fitting.cpu(), 0) == []
    assert calls(overload, scores, targets, frames, fitting, 1) == []


def test_boxes_that_are_kept_are_counted() -> None:
    row = row_of("torchvision.nms")
    assert row is not None
    boxes = torch.ones(3, 4).cuda()

    assert list(row.calls(OpCall(row.name, (boxes,), {}, {"dets": 0}))) == [read(8)]
    assert list(row.calls(OpCall(row.name, (boxes[:0],), {}, {"dets": 0}))) == []


def test_a_row_for_sparse_tensors_is_not_asked_about_ordinary_ones() -> None:
    assert traits_of("aten::add.Tensor").traits & Trait.ROW_FOR_SPARSE
    assert not traits_of("aten::nonzero").traits & Trait.ROW_FOR_SPARSE


def test_every_wait_of_thrust_is_for_the_stream() -> None:
    assert {call.wait for call in calls(aten._coalesce.default, coo())} == {SyncKind.STREAM}
