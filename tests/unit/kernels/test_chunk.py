"""The whole gated delta rule against its definition, token by token in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from syncwatch_kernels.gdn import build_chunk_metadata, chunk_gated_delta_rule
from syncwatch_kernels.gdn.reference import reference_chunked, reference_l2norm

from tests.helpers.kernel_fixtures import assert_close, double, embedded, make_problem


@pytest.mark.parametrize(
    ("lengths", "heads", "size", "value_size", "with_state"),
    [
        ([31, 64, 65, 1], (1, 2), 16, 16, False),
        ([31, 64, 65, 1], (1, 2), 16, 16, True),
        ([0, 66, 0, 3, 0], (2, 2), 32, 64, True),
        ([130], (1, 4), 64, 32, False),
        ([70], (1, 1), 128, 128, True),
        ([0, 0], (1, 2), 16, 16, True),
    ],
    ids=str,
)
def test_against_the_definition(
    lengths: list[int], heads: tuple[int, int], size: int, value_size: int, with_state: bool
) -> None:
    problem = make_problem(lengths, heads, size, value_size=value_size, with_state=with_state)

    o, final = chunk_gated_delta_rule(*problem.tensors, problem.cu_seqlens, problem.initial_state, True)

    true_o, true_final = problem.truth()
    assert_close(o, true_o)
    assert final is not None
    assert_close(final, true_final)


def test_float16() -> None:
    problem = make_problem([20], (1, 1), 16, with_state=True, dtype=torch.float16)

    o, final = chunk_gated_delta_rule(*problem.tensors, problem.cu_seqlens, problem.initial_state)

    assert_close(o, problem.truth()[0])
    assert final is None


def test_metadata_of_the_host_gives_the_same_bits() -> None:
    problem = make_problem([30, 0, 67], (1, 2), 16, with_state=True)
    metadata = build_chunk_metadata(problem.cu_seqlens_cpu)

    found = chunk_gated_delta_rule(*problem.tensors, problem.cu_seqlens, problem.initial_state, True)
    given = chunk_gated_delta_rule(
        *problem.tensors,
        problem.cu_seqlens,
        problem.initial_state,
        True,
        chunk_indices=metadata.chunk_indices,
        chunk_offsets=metadata.chunk_offsets,
    )

    for mine, theirs in zip(found, given, strict=True):
        assert mine is not None
        assert theirs is not None
        assert torch.equal(mine, theirs)


def test_a_neighbour_full_of_nan_changes_nothing() -> None:
    problem = make_problem([30, 67, 5], (1, 2), 16, with_state=True)
    clean, _ = chunk_gated_delta_rule(*problem.tensors, problem.cu_seqlens, problem.initial_state)
    q, k, v, g, beta = (each.clone() for each in problem.tensors)
    for tensor in (q, k, v, g, beta):
        tensor[:, 30:97] = float("nan")

    o, final = chunk_gated_delta_rule(q, k, v, g, beta, problem.cu_seqlens, problem.initial_state, True)

    assert torch.equal(o[:, :30], clean[:, :30])
    assert torch.equal(o[:, 97:], clean[:, 97:])
    assert final is not None
    assert final[[0, 2]].isfinite().all()
    assert o[:, 30:97].isnan().all()


@pytest.mark.parametrize("beside", [1, 8], ids=["not aligned", "aligned"])
def test_slices_of_a_wider_tensor(beside: int) -> None:
    problem = make_problem([20], (1, 2), 16, with_state=False)
    q, k, v = (embedded(each, beside) for each in (problem.q, problem.k, problem.v))

    whole, _ = chunk_gated_delta_rule(*problem.tensors, problem.cu_seqlens)
    o, _ = chunk_gated_delta_rule(q, k, v, problem.g, problem.beta, problem.cu_seqlens)

    assert torch.equal(o, whole)


def test_unit_length_on_request_and_another_scale() -> None:
    problem = make_problem([20], (1, 1), 16, with_state=False)
    long = replace(problem, q=problem.q * 3, k=problem.k * 7)
    unit = replace(problem, q=reference_l2norm(long.q.double()), k=reference_l2norm(long.k.double()))

    o, _ = chunk_gated_delta_rule(*long.tensors, problem.cu_seqlens, use_qk_l2norm=True, scale=1.5)

    assert_close(o, unit.truth()[0] * (1.5 * 16**0.5))


@pytest.mark.parametrize("with_state", [False, True], ids=["from zero", "from a state"])
def test_the_two_references_agree(with_state: bool) -> None:
    problem = make_problem([0, 3, 200, 64], (2, 4), 16, value_size=32, with_state=with_state)
    q, k, v, g, beta = (each.double() for each in problem.tensors)

    by_chunk = reference_chunked(q, k, v, g, beta, problem.cu_list, double(problem.initial_state))

    for chunked, recurrent in zip(by_chunk, problem.truth(), strict=True):
        assert_close(chunked, recurrent, 1e-12)
