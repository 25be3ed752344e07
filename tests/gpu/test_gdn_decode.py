"""The decode kernels at full size on a GPU: right after one step and after a thousand, and they never wait."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate

import pytest
import torch
from syncwatch_kernels.gdn import causal_conv1d_update, gating, recurrent, recurrent_gated_delta_rule_decode
from syncwatch_kernels.gdn.reference import reference_l2norm, reference_recurrent
from syncwatch_kernels.gdn.reference_decode import reference_causal_conv1d_update

from tests.helpers.decode_fixtures import FLOAT32, Batch, between, check, make_batch, make_pool, make_tokens
from tests.helpers.kernel_fixtures import assert_close, poison_fresh_memory, relative_rmse

pytestmark = pytest.mark.gpu

HEADS = [(16, 64), (16, 32), (16, 16), (2, 8)]
INT32 = torch.int32
CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def seeded_and_poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    poison_fresh_memory(monkeypatch)


@pytest.fixture
def no_waits() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


def batch_of(
    lengths: list[int],
    slots: list[list[int]],
    accepted: list[int] | None,
    heads: tuple[int, int] = (16, 32),
    padding: int = 0,
) -> Batch:
    return make_batch(lengths, slots, accepted, heads=heads, size=128, device="cuda", padding=padding)


@pytest.mark.parametrize("heads", HEADS, ids=str)
def test_one_token_a_row(heads: tuple[int, int]) -> None:
    slots, written = [3, 0, 9, 1, -1, 12, 4, 100], [1, 3, 4, 9, 12]
    batch = batch_of([1] * 8, [[slot] for slot in slots], None, heads)
    states = make_pool(13, batch, used=written)
    again = states.clone()

    o = check(batch, states, written)

    same = recurrent_gated_delta_rule_decode(*batch.tensors, again, torch.tensor(slots, dtype=INT32, device=CUDA))
    # Another variant of the kernel, in which the compiler may contract other products into sums.
    assert_close(same, o)
    assert_close(again[written], states[written], 1e-6)


@pytest.mark.parametrize("heads", HEADS, ids=str)
def test_a_mixed_batch(heads: tuple[int, int]) -> None:
    """A row without drafts before speculative ones, rows without slots, padding in rows and in tokens."""
    slots = [[1, 2, 3], [4, 5, 6], [0, 0, 0], [7, 8, 9], [-1, -1, -1], [12, 11, 10]]
    batch = batch_of([1, 3, 0, 2, 3, 3], slots, [1, 2, 1, 3, 1, 2], heads, padding=20)
    states = make_pool(14, batch, used=[1, 5, 9, 11])
    written = [1, 4, 5, 6, 7, 8, 10, 11, 12]
    alone = states.double()
    for index in range(len(slots)):
        _, alone = batch.row(index).truth(alone)

    check(batch, states, written)

    assert_close(states[written], alone[written], FLOAT32)


@pytest.mark.parametrize(("wild", "column"), [(0, 0), (4, 2), (2**31 - 1, 2), (-(2**31), 0)])
def test_a_count_outside_the_window_means_its_edge(wild: int, column: int) -> None:
    batch = batch_of([3], [[1, 2, 3]], [wild])
    states = make_pool(5, batch, used=[1 + column])
    same = states.clone()

    o = check(batch, states, written=[1, 2, 3])

    assert torch.equal(o, replace(batch, accepted=[column + 1]).run(same))
    assert torch.equal(states.view(INT32), same.view(INT32))


def test_speculative_then_plain_then_speculative() -> None:
    steps = [batch_of([length], [[1, 2, 3]], [count]) for length, count in ((3, 1), (1, 2), (3, 1))]
    states = make_pool(4, steps[0], used=[1])
    initial = states[1:2].double()

    o = torch.cat([steps[0].run(states)[:, :2], steps[1].run(states), steps[2].run(states)], dim=1)

    stand = zip(*(step.tensors for step in steps), strict=True)
    q, k, v, g, beta = (torch.cat((first[:, :2], plain, last), dim=1).double() for first, plain, last in stand)
    true_o, true_state = reference_recurrent(reference_l2norm(q), reference_l2norm(k), v, g, beta, [0, 6], initial)
    assert_close(o, true_o)
    assert_close(states[3:4], true_state, FLOAT32)


@pytest.mark.parametrize("speculative", [False, True], ids=["plain", "speculative"])
@pytest.mark.parametrize("heads", [(16, 32), (2, 8)], ids=str)
def test_a_thousand_steps_keep_a_float32_state(heads: tuple[int, int], speculative: bool) -> None:
    """Gates as served models have them; each speculative step's 2 tokens stand, so the state comes from column 1."""
    steps, window = 1000, 2 if speculative else 1
    q, k, v, _, _ = make_tokens(steps, heads, 128, 128, torch.bfloat16, "cuda")
    a, b = torch.randn(2, steps, heads[1], device=CUDA).bfloat16()
    a_log = (torch.rand(heads[1], device=CUDA) * 16).clamp_min(0.01).log()
    g, beta = (each[None] for each in gating(a, b, a_log, torch.ones(heads[1], device=CUDA)))
    g[..., : heads[1] // 2] /= 500  # half of the heads remember for hundreds of steps
    states = torch.zeros(3, heads[1], 128, 128, device=CUDA)
    slots = torch.tensor([[1, 2]] if speculative else [1], dtype=INT32, device=CUDA)
    cu_seqlens = torch.tensor([0, window], dtype=INT32, device=CUDA)
    counts = torch.tensor([2], dtype=INT32, device=CUDA) if speculative else None

    for t in range(0, steps, window):
        tokens = between((q, k, v, g, beta), t, t + window)
        recurrent_gated_delta_rule_decode(*tokens, states, slots, cu_seqlens, counts)

    q, k = (reference_l2norm(each.float()) for each in (q, k))
    _, expected = reference_recurrent(q, k, v.float(), g, beta, [0, steps])
    assert relative_rmse(states[window : window + 1], expected) <= 1e-6


def test_no_step_waits_and_a_graph_gives_the_same_bits(no_waits: None) -> None:
    """Plain, speculative and the convolution, once eagerly and once replayed."""
    plain = batch_of([1, 1], [[1], [2]], None)
    drafts = batch_of([3, 1], [[3, 4, 5], [6, 7, 8]], [2, 1])
    states = make_pool(9, plain, used=[1, 2, 4, 6])
    conv_states = torch.randn(9, 5, 1000, device=CUDA).bfloat16()
    x, weight = torch.randn(4, 1000, device=CUDA).bfloat16(), torch.randn(1000, 4, device=CUDA).bfloat16()
    table = torch.tensor([[3, 4, 5], [6, 7, 8]], dtype=INT32, device=CUDA)
    slots, counts, sums = (torch.tensor(each, dtype=INT32, device=CUDA) for each in ([1, 2], [2, 1], [0, 3, 4]))

    def step() -> list[torch.Tensor]:
        return [
            recurrent_gated_delta_rule_decode(*plain.tensors, states, slots),
            recurrent_gated_delta_rule_decode(*drafts.tensors, states, table, sums, counts),
            causal_conv1d_update(x, weight, None, conv_states, table[:, 0], sums, counts),
            causal_conv1d_update(x[:2], weight, None, conv_states, slots),
        ]

    begin = states.clone(), conv_states.clone()
    step()
    states.copy_(begin[0])
    conv_states.copy_(begin[1])
    torch.cuda.set_sync_debug_mode("error")
    eager = [*step(), states.clone(), conv_states.clone()]
    torch.cuda.set_sync_debug_mode("default")

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        replayed = step()
    states.copy_(begin[0])
    conv_states.copy_(begin[1])
    graph.replay()

    for mine, theirs in zip([*replayed, states, conv_states], eager, strict=True):
        assert torch.equal(mine.nan_to_num(7.0), theirs.nan_to_num(7.0))


@pytest.mark.parametrize("drafts", [0, 2])
def test_steps_that_come_up_early_wait_for_the_states_of_the_step_before(
    drafts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, steps, width = 64, 40, 1 + drafts
    tensors = batch_of([width] * rows, [[0] * width] * rows, None, (2, 8)).tensors
    slots = 1 + torch.arange(rows * width, dtype=INT32, device=CUDA).view(rows, width)
    sums = torch.arange(0, rows * width + 1, width, dtype=INT32, device=CUDA)
    counts = torch.full((rows,), width, dtype=INT32, device=CUDA)
    first = torch.randn(1 + rows * width, 8, 128, 128, device=CUDA)

    def after(programs: int) -> list[torch.Tensor]:
        monkeypatch.setattr(recurrent, "_EARLY_PROGRAMS", programs)
        states = first.clone()

        def step() -> torch.Tensor:
            if not drafts:
                return recurrent_gated_delta_rule_decode(*tensors, states, slots[:, 0])
            return recurrent_gated_delta_rule_decode(*tensors, states, slots, sums, counts)

        step()
        states.copy_(first)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = [step() for _ in range(steps)]
        graph.replay()
        return [*outputs, states]

    assert recurrent._launches_early(torch.device("cuda", 0))
    for early, late in zip(after(1), after(1 << 40), strict=True):
        assert torch.equal(early, late)


@pytest.mark.parametrize("channels", [1000, 12288])
@pytest.mark.parametrize("accepted", [None, [2, 3, 1, 0, 9]], ids=["plain", "speculative"])
def test_causal_conv1d_update(accepted: list[int] | None, channels: int) -> None:
    lengths, slots, padding = [1, 3, 0, 2, 3], [3, 1, 0, 2, -1], 10
    sums = [0, *accumulate(lengths)]
    x = torch.randn(sum(lengths) + padding, channels, device=CUDA).bfloat16()
    weight, bias = torch.randn(channels, 4, device=CUDA).bfloat16(), torch.randn(channels, device=CUDA).bfloat16()
    pool = torch.randn(5, 5, channels, device=CUDA).bfloat16()
    pool[4] = float("nan")
    true_y, true_pool = reference_causal_conv1d_update(
        x.double(), weight.double(), bias.double(), pool.double(), slots, sums, accepted
    )
    slots_, sums_ = (torch.tensor(each, dtype=INT32, device=CUDA) for each in (slots, sums))
    counts = None if accepted is None else torch.tensor(accepted, dtype=INT32, device=CUDA)

    y = causal_conv1d_update(x, weight, bias, pool, slots_, sums_, counts)

    assert_close(y, true_y)
    torch.testing.assert_close(pool.double(), true_pool, rtol=0, atol=0, equal_nan=True)
