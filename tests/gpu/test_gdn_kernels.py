"""The gated delta rule at full size on a GPU: right, the same bits in both variants, no wait where none is promised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import triton
from syncwatch_kernels.gdn import (
    build_chunk_metadata,
    causal_conv1d,
    chunk_gated_delta_rule,
    gated_rms_norm,
    gating,
    l2norm,
    upload,
)
from syncwatch_kernels.gdn.reference import (
    reference_causal_conv1d,
    reference_chunked,
    reference_gated_rms_norm,
    reference_gating,
    reference_l2norm,
)

from tests.helpers.kernel_fixtures import Problem, assert_close, double, embedded, make_problem, poison_fresh_memory

pytestmark = pytest.mark.gpu

HEADS = [(16, 16), (16, 32), (16, 64), (2, 8)]
LENGTHS = [[31, 64, 65, 511, 1], [0, 64, 0, 130], [1000, 0, 37], [1], [256, 256], [31, 63, 93, 123, 150, 500]]
CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def seeded_and_poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    poison_fresh_memory(monkeypatch)


@pytest.fixture
def default_sync_mode() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


def run(problem: Problem, precomputed: bool) -> tuple[torch.Tensor, torch.Tensor]:
    metadata = build_chunk_metadata(problem.cu_seqlens_cpu)
    o, final = chunk_gated_delta_rule(
        *problem.tensors,
        upload(problem.cu_seqlens_cpu, CUDA),
        problem.initial_state,
        output_final_state=True,
        chunk_indices=upload(metadata.chunk_indices, CUDA) if precomputed else None,
        chunk_offsets=upload(metadata.chunk_offsets, CUDA) if precomputed else None,
    )
    assert final is not None
    return o, final


@pytest.mark.parametrize("with_state", [False, True], ids=["from zero", "from a state"])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("heads", HEADS, ids=str)
def test_against_the_definition(heads: tuple[int, int], lengths: list[int], with_state: bool) -> None:
    problem = make_problem(lengths, heads, 128, with_state=with_state, device="cuda")

    o, final = run(problem, precomputed=True)

    true_o, true_final = problem.truth()
    assert_close(o, true_o)
    assert_close(final, true_final)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_small_heads(size: int) -> None:
    problem = make_problem([31, 0, 65, 130], (2, 4), size, with_state=True, device="cuda")

    o, final = run(problem, precomputed=True)

    true_o, true_final = problem.truth()
    assert_close(o, true_o)
    assert_close(final, true_final)


@pytest.mark.parametrize("lengths", [[8192], [1, 1000, 0, 2191, 5000]], ids=str)
def test_a_full_prefill(lengths: list[int]) -> None:
    problem = make_problem(lengths, (16, 32), 128, with_state=True, device="cuda")

    o, final = run(problem, precomputed=True)

    q, k, v, g, beta = (each.double() for each in problem.tensors)
    true_o, true_final = reference_chunked(q, k, v, g, beta, problem.cu_list, double(problem.initial_state))
    assert_close(o, true_o)
    assert_close(final, true_final)


@pytest.mark.parametrize("beside", [1, 8], ids=["not aligned", "aligned"])
def test_slices_and_unit_length_on_request(beside: int) -> None:
    problem = make_problem([31, 0, 65, 130], (2, 8), 128, with_state=True, device="cuda")
    # Factors that are powers of two change no rounding: brought to unit length, the inputs have the same bits again.
    q, k, v = (embedded(each, beside) for each in (problem.q * 4, problem.k * 8, problem.v))

    o, final = chunk_gated_delta_rule(
        q, k, v, problem.g, problem.beta, problem.cu_seqlens, problem.initial_state, True, use_qk_l2norm=True
    )

    unit = replace(problem, q=reference_l2norm(problem.q.double()), k=reference_l2norm(problem.k.double()))
    true_o, true_final = unit.truth()
    assert_close(o, true_o)
    assert final is not None
    assert_close(final, true_final)


def test_a_neighbour_full_of_nan_changes_nothing() -> None:
    problem = make_problem([30, 67, 5], (2, 8), 128, with_state=True, device="cuda")
    clean, _ = run(problem, precomputed=True)
    for tensor in problem.tensors:
        tensor[:, 30:97] = float("nan")

    o, final = run(problem, precomputed=True)

    assert torch.equal(o[:, :30], clean[:, :30])
    assert torch.equal(o[:, 97:], clean[:, 97:])
    assert final[[0, 2]].isfinite().all()


def test_no_length_compiles_anything_new(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    run(make_problem([64], (2, 8), 128, with_state=True, device="cuda"), precomputed=True)
    monkeypatch.setattr(triton.knobs.runtime, "jit_post_compile_hook", lambda **named: compiled.append(named))

    for lengths in ([1], [17], [1000], [8192], [0, 16, 0], [3] * 40):
        run(make_problem(lengths, (2, 8), 128, with_state=True, device="cuda"), precomputed=True)

    assert compiled == []


@pytest.mark.parametrize("lengths", [[31, 64, 65, 511, 1], [0, 64, 0, 130]], ids=str)
def test_naive_and_precomputed_give_the_same_bits(lengths: list[int]) -> None:
    problem = make_problem(lengths, (16, 32), 128, with_state=True, device="cuda")

    for naive, precomputed in zip(run(problem, False), run(problem, True), strict=True):
        assert torch.equal(naive, precomputed)


def test_every_run_gives_the_same_bits() -> None:
    problem = make_problem([31, 64, 65, 511, 1], (16, 32), 128, with_state=True, device="cuda")
    first = run(problem, True)

    for _ in range(20):
        for mine, theirs in zip(first, run(problem, True), strict=True):
            assert torch.equal(mine, theirs)


def layer(problem: Problem, precomputed: bool) -> None:
    """Run every op once, as a layer does."""
    tokens, heads, size = problem.v.shape[1:]
    metadata = build_chunk_metadata(problem.cu_seqlens_cpu)
    cu_seqlens = upload(problem.cu_seqlens_cpu, CUDA)
    indices = upload(metadata.chunk_indices, CUDA) if precomputed else None
    offsets = upload(metadata.chunk_offsets, CUDA) if precomputed else None
    flat = problem.v[0].reshape(tokens, heads * size)
    state = torch.zeros(len(cu_seqlens) - 1, 3, heads * size, dtype=flat.dtype, device=CUDA)
    weight = torch.ones(heads * size, 4, dtype=flat.dtype, device=CUDA)
    mixed, _ = causal_conv1d(flat, weight, cu_seqlens, state, True, indices)
    zeros = torch.zeros(heads, device=CUDA)
    g, beta = gating(problem.g[0], problem.beta[0], zeros, zeros)
    o, _ = chunk_gated_delta_rule(
        l2norm(problem.q), l2norm(problem.k), mixed.view_as(problem.v), g[None], beta[None], cu_seqlens,
        problem.initial_state, True, indices, offsets,
    )  # fmt: skip
    gated_rms_norm(o[0], problem.v[0], torch.ones(size, device=CUDA))


def test_given_metadata_no_op_waits(default_sync_mode: None) -> None:
    problem = make_problem([31, 0, 65, 511, 1], (2, 8), 128, with_state=True, device="cuda")
    layer(problem, precomputed=True)
    torch.cuda.set_sync_debug_mode("error")

    layer(problem, precomputed=True)

    # The mode was on: it does raise where something waits.
    with pytest.raises(RuntimeError, match="synchronizing CUDA operation"):
        problem.v.sum().item()


def test_without_metadata_one_read_waits(default_sync_mode: None) -> None:
    problem = make_problem([31, 0, 65, 511, 1], (2, 8), 128, with_state=True, device="cuda")
    layer(problem, precomputed=False)
    torch.cuda.set_sync_debug_mode("warn")

    with pytest.warns(UserWarning, match="synchronizing CUDA operation") as waits:
        layer(problem, precomputed=False)

    assert len(waits) == 1
    assert waits[0].filename.endswith("index.py")


@pytest.mark.parametrize("with_state", [False, True], ids=["from zero", "from a state"])
@pytest.mark.parametrize("lengths", [[1, 0, 2, 700], [0, 0], [8192]], ids=str)
def test_causal_conv1d(lengths: list[int], with_state: bool) -> None:
    sums = make_problem(lengths, (1, 1), 16, with_state=False)
    x = torch.randn(sum(lengths), 1000, device=CUDA).bfloat16()
    weight = torch.randn(1000, 4, device=CUDA).bfloat16()
    state = torch.randn(len(lengths), 3, 1000, device=CUDA).bfloat16() if with_state else None

    y, final = causal_conv1d(x, weight, upload(sums.cu_seqlens_cpu, CUDA), state, output_final_state=True)

    true_y, true_final = reference_causal_conv1d(x.double(), weight.double(), sums.cu_list, double(state))
    assert_close(y, true_y)
    assert final is not None
    assert torch.equal(final.double(), true_final)


@pytest.mark.parametrize("tokens", [1, 33, 8192])
def test_gating_and_norms(tokens: int) -> None:
    a, b = torch.randn(2, tokens, 48, device=CUDA) * 8
    a_log, dt_bias = torch.randn(2, 48, device=CUDA)
    x, z = torch.randn(2, tokens, 48, 128, device=CUDA).bfloat16()
    weight = torch.randn(128, device=CUDA)

    g, beta = gating(a, b, a_log, dt_bias)

    true_g, true_beta = reference_gating(a.double(), b.double(), a_log.double(), dt_bias.double())
    assert_close(g, true_g, 1e-5)
    assert_close(beta, true_beta, 1e-5)
    assert_close(l2norm(x[None]), reference_l2norm(x[None].double()))
    assert_close(gated_rms_norm(x, z, weight), reference_gated_rms_norm(x.double(), z.double(), weight.double()))
