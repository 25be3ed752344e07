"""Each kernel alone, against its reference in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from syncwatch_kernels.gdn import causal_conv1d, gated_rms_norm, gating, l2norm
from syncwatch_kernels.gdn.chunk import chunk_scan
from syncwatch_kernels.gdn.chunk_local import ChunkLocal, chunk_local
from syncwatch_kernels.gdn.index import build_chunk_metadata
from syncwatch_kernels.gdn.reference import (
    reference_causal_conv1d,
    reference_chunk_cumsum,
    reference_chunk_output,
    reference_chunk_states,
    reference_gated_rms_norm,
    reference_gating,
    reference_l2norm,
    reference_wy_factors,
    reference_wy_inverse,
)

from tests.helpers.kernel_fixtures import Problem, assert_close, double, make_problem

FLOAT32 = 1e-5
BFLOAT16 = torch.bfloat16


def strided(tensor: torch.Tensor) -> torch.Tensor:
    """Return `tensor` as a slice of a wider one along the token's values, NaN beside it."""
    flat = tensor.flatten(1)
    wide = torch.cat((torch.full_like(flat, float("nan")), flat), dim=1)
    return wide[:, flat.shape[1] :].view(tensor.shape)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return make_problem([5, 0, 70], heads=(1, 2), size=32, value_size=16, with_state=True)


@pytest.mark.parametrize("tokens", [0, 1, 33])
def test_gating(tokens: int) -> None:
    a, b = torch.randn(tokens, 6) * 15, torch.randn(tokens, 6) * 4
    a_log, dt_bias = torch.rand(6).log(), torch.randn(6)

    g, beta = gating(a, b, a_log, dt_bias)

    true_g, true_beta = reference_gating(*(each.double() for each in (a, b, a_log, dt_bias)))
    assert_close(g, true_g, FLOAT32)
    assert_close(beta, true_beta, FLOAT32)


def test_gating_keeps_small_decays() -> None:
    a = torch.full((1, 2), -18.0)

    g, _ = gating(a, a, torch.zeros(2), torch.zeros(2))

    torch.testing.assert_close(g, -a.exp(), rtol=1e-4, atol=0.0)


def test_gating_takes_slices_of_one_projection() -> None:
    both = torch.randn(7, 8, dtype=BFLOAT16)

    g, beta = gating(both[:, :4], both[:, 4:], torch.zeros(4), torch.zeros(4))

    true_g, true_beta = reference_gating(both[:, :4].double(), both[:, 4:].double(), *torch.zeros(2, 4).double())
    assert_close(g, true_g, FLOAT32)
    assert_close(beta, true_beta, FLOAT32)


@pytest.mark.parametrize("tokens", [0, 1, 40])
def test_l2norm(tokens: int) -> None:
    x = strided(torch.randn(tokens, 3, 32, dtype=BFLOAT16)).unsqueeze(0)

    assert_close(l2norm(x), reference_l2norm(x.double()))


def test_l2norm_of_nothing_is_nothing() -> None:
    x = torch.zeros(1, 2, 1, 16, dtype=BFLOAT16)

    assert torch.equal(l2norm(x), x)


@pytest.mark.parametrize("tokens", [0, 1, 40])
def test_gated_rms_norm(tokens: int) -> None:
    x, z = torch.randn(tokens, 3, 32, dtype=BFLOAT16), strided(torch.randn(tokens, 3, 32, dtype=BFLOAT16))
    weight = torch.randn(32)

    assert_close(gated_rms_norm(x, z, weight), reference_gated_rms_norm(x.double(), z.double(), weight.double()))


@pytest.mark.parametrize("with_state", [False, True], ids=["from zero", "from a state"])
@pytest.mark.parametrize("lengths", [[1, 0, 2, 70], [0, 0], [64]], ids=str)
def test_causal_conv1d(lengths: list[int], with_state: bool) -> None:
    sums = make_problem(lengths, (1, 1), 16, with_state=False)
    x = strided(torch.randn(sum(lengths), 24, dtype=BFLOAT16))
    weight = torch.randn(24, 4, dtype=BFLOAT16)
    state = torch.randn(len(lengths), 3, 24, dtype=BFLOAT16) if with_state else None

    y, final = causal_conv1d(x, weight, sums.cu_seqlens, state, output_final_state=True)

    true_y, true_final = reference_causal_conv1d(x.double(), weight.double(), sums.cu_list, double(state))
    assert_close(y, true_y)
    assert final is not None
    assert torch.equal(final.double(), true_final)


def prepared(problem: Problem, unit_length: bool = False) -> ChunkLocal:
    q, k, _, g, beta = problem.tensors
    indices = build_chunk_metadata(problem.cu_seqlens_cpu).chunk_indices
    return chunk_local(q, k, g, beta, problem.cu_seqlens, indices, unit_length, 0.5)


def by_chunk(rows: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Return [1, T, ...] as [NT, 64, ...], zero past the end of each sequence."""
    chunks = []
    for start, end in zip(problem.cu_list, problem.cu_list[1:], strict=False):
        for first in range(start, end, 64):
            part = rows[0, first : min(first + 64, end)]
            chunks.append(torch.cat((part, part.new_zeros(64 - len(part), *part.shape[1:]))))
    return torch.stack(chunks)


def test_inverse_of_each_chunk(problem: Problem) -> None:
    k, g, beta = (each.double() for each in (problem.k, problem.g, problem.beta))
    g_sum = reference_chunk_cumsum(g, problem.cu_list)

    inverse = prepared(problem).inverse

    truth = by_chunk(reference_wy_inverse(k, g_sum, beta, problem.cu_list), problem).transpose(1, 2)
    assert_close(inverse, truth * by_chunk(beta, problem).transpose(1, 2)[:, :, None, :])


def test_attention_and_gates_of_each_chunk(problem: Problem) -> None:
    q, k, g = (by_chunk(each.double(), problem).transpose(1, 2) for each in (problem.q, problem.k, problem.g))
    g_sum = g.cumsum(-1)

    local = prepared(problem)

    span = (g_sum[..., :, None] - g_sum[..., None, :]).tril().exp().tril()
    truth = 0.5 * (q @ k.mT).repeat_interleave(2, dim=1) * span
    assert_close(local.attention, truth)
    inside = (k.abs().sum(-1) > 0).repeat_interleave(2, dim=1)
    since, until = g_sum.exp(), (g_sum[..., -1:] - g_sum).exp()
    for found, expected in zip(local.gates.unbind(2), (since, until, 0.5 * since, since), strict=True):
        assert_close(torch.where(inside, found, 0.0), torch.where(inside, expected, 0.0), FLOAT32)


def test_unit_length_leaves_inverse_and_attention_as_they_are(problem: Problem) -> None:
    q, k = problem.q.double(), problem.k.double()
    unit = replace(problem, q=reference_l2norm(q).float().bfloat16(), k=reference_l2norm(k).float().bfloat16())
    long = replace(problem, q=unit.q * 4, k=unit.k * 8)

    plain, scaled = prepared(unit, unit_length=True), prepared(long, unit_length=True)

    assert_close(scaled.inverse, plain.inverse.double())
    assert_close(scaled.attention, plain.attention.double())
    # A factor that is a power of two changes no rounding; the keys' factor of 8 comes back in the gates.
    assert_close(scaled.gates[:, :, 0] * 8, plain.gates[:, :, 0].double(), FLOAT32)


def test_keys_of_zero_stay_zero() -> None:
    problem = make_problem([3], (1, 1), 16, with_state=False, dtype=torch.float16)

    local = prepared(replace(problem, k=torch.zeros_like(problem.k)), unit_length=True)

    assert torch.equal(local.gates[:, :, :2], torch.zeros(1, 1, 2, 64))
    assert torch.equal(local.attention, torch.zeros_like(local.attention))


def test_inverse_of_keys_that_are_all_alike() -> None:
    # The powers of A reach 1e18 here, and its inverse is -1 below the diagonal and 0 elsewhere.
    alike = torch.zeros(1, 64, 1, 16, dtype=BFLOAT16)
    alike[..., 0] = 1
    problem = make_problem([64], (1, 1), 16, with_state=False)
    problem = replace(problem, k=alike, g=torch.zeros(1, 64, 1), beta=torch.ones(1, 64, 1))

    inverse = prepared(problem).inverse[0, 0]

    assert torch.equal(inverse.float(), torch.eye(64) - torch.diag(torch.ones(63), -1))


@pytest.mark.parametrize("with_state", [False, True], ids=["from zero", "from a state"])
def test_scan(problem: Problem, with_state: bool) -> None:
    initial = problem.initial_state if with_state else None
    metadata = build_chunk_metadata(problem.cu_seqlens_cpu)
    local = prepared(problem)

    o, final = chunk_scan(
        problem.q, problem.k, problem.v, local, problem.cu_seqlens, metadata.chunk_offsets, initial, True
    )

    q, k, v, g, beta = (each.double() for each in problem.tensors)
    g_sum = reference_chunk_cumsum(g, problem.cu_list)
    inverse = reference_wy_inverse(k, g_sum, beta, problem.cu_list)
    w, u = reference_wy_factors(k, v, g_sum, beta, inverse, problem.cu_list)
    states, corrected, true_final = reference_chunk_states(k, w, u, g_sum, problem.cu_list, double(initial))
    assert final is not None
    assert_close(final, true_final)
    assert torch.equal(final[1], torch.zeros_like(final[1]) if initial is None else initial[1])
    assert_close(o, reference_chunk_output(q, k, corrected, states, g_sum, problem.cu_list, 0.5))
