"""Each kernel alone, against its reference in float64."""

from __future__ import annotations

import pytest
import torch
from syncwatch_kernels.gdn import causal_conv1d, gated_rms_norm, gating, l2norm
from syncwatch_kernels.gdn.chunk_output import chunk_output
from syncwatch_kernels.gdn.chunk_states import chunk_states
from syncwatch_kernels.gdn.cumsum import chunk_cumsum
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
from syncwatch_kernels.gdn.wy_factors import wy_factors
from syncwatch_kernels.gdn.wy_inverse import wy_inverse

from tests.kernel_fixtures import Problem, assert_close, double, make_problem

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


def test_chunk_cumsum(problem: Problem) -> None:
    g_sum = chunk_cumsum(problem.g, problem.cu_seqlens)

    assert_close(g_sum, reference_chunk_cumsum(problem.g.double(), problem.cu_list), FLOAT32)


def test_wy_inverse(problem: Problem) -> None:
    g_sum = reference_chunk_cumsum(problem.g, problem.cu_list)

    inverse = wy_inverse(problem.k, g_sum, problem.beta, problem.cu_seqlens)

    truth = reference_wy_inverse(problem.k.double(), g_sum.double(), problem.beta.double(), problem.cu_list)
    assert_close(torch.where(truth != 0, inverse.double(), 0.0), truth)


def test_wy_inverse_of_keys_that_are_all_alike() -> None:
    # The powers of A reach 1e18 here, and its inverse is -1 below the diagonal and 0 elsewhere.
    k = torch.zeros(1, 64, 1, 16, dtype=BFLOAT16)
    k[..., 0] = 1
    cu_seqlens = torch.tensor([0, 64], dtype=torch.int32)

    inverse = wy_inverse(k, torch.zeros(1, 64, 1), torch.ones(1, 64, 1), cu_seqlens)[0, :, 0]

    expected = torch.eye(64) - torch.diag(torch.ones(63), -1)
    lower = torch.ones(64, 64).tril().bool()
    assert torch.equal(inverse[lower].float(), expected[lower])


def test_wy_factors(problem: Problem) -> None:
    g_sum = reference_chunk_cumsum(problem.g, problem.cu_list)
    inverse = reference_wy_inverse(problem.k.float(), g_sum, problem.beta, problem.cu_list).to(BFLOAT16)

    factors = wy_factors(problem.k, problem.v, g_sum, problem.beta, inverse, problem.cu_seqlens)

    doubles = [each.double() for each in (problem.k, problem.v, g_sum, problem.beta, inverse)]
    k, v, true_sum, beta, true_inverse = doubles
    for actual, truth in zip(
        factors, reference_wy_factors(k, v, true_sum, beta, true_inverse, problem.cu_list), strict=True
    ):
        assert_close(actual, truth)


@pytest.mark.parametrize("with_state", [False, True], ids=["from zero", "from a state"])
def test_chunk_states_and_output(problem: Problem, with_state: bool) -> None:
    initial = problem.initial_state if with_state else None
    g_sum = reference_chunk_cumsum(problem.g, problem.cu_list)
    w, u = torch.randn(1, 75, 2, 32, dtype=BFLOAT16) * 0.1, torch.randn(1, 75, 2, 16, dtype=BFLOAT16)

    states, corrected, final = chunk_states(problem.k, w, u, g_sum, problem.cu_seqlens, initial, True)
    o = chunk_output(problem.q, problem.k, corrected, states, g_sum, problem.cu_seqlens, scale=0.5)

    q, k, true_w, true_u, true_sum = (each.double() for each in (problem.q, problem.k, w, u, g_sum))
    true_states, true_corrected, true_final = reference_chunk_states(
        k, true_w, true_u, true_sum, problem.cu_list, double(initial)
    )
    assert_close(states, true_states)
    assert_close(corrected, true_corrected)
    assert final is not None
    assert_close(final, true_final)
    assert torch.equal(final[1], torch.zeros_like(final[1]) if initial is None else initial[1])
    assert_close(o, reference_chunk_output(q, k, true_corrected, true_states, true_sum, problem.cu_list, 0.5))
