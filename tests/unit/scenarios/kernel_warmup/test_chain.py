"""The chain that `kernel-warmup` warms up: right at every block size, and tuned for nothing that a batch changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from syncwatch_kernels.gdn.reference import reference_recurrent
from syncwatch_scenarios.kernel_warmup.chain import Heads, chain, derived_block, draw_inputs, tried, tunable
from syncwatch_scenarios.kernel_warmup.variants import VARIANTS, WarmKernels, shipped

from tests.helpers.kernel_fixtures import assert_close

HEADS = Heads(1, 2, 16)
CPU = torch.device("cpu")


def outputs(kernels: dict[str, Any], tokens: int, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    launches, output, state = chain(draw_inputs(HEADS, tokens, 0, CPU), block)
    for launch in launches:
        kernels[launch.kernel][launch.grid](*launch.arguments, **launch.meta)
    return output, state


def truth(tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = draw_inputs(HEADS, tokens, 0, CPU)
    q, k, v, g, beta = (each.double() for each in (inputs.q, inputs.k, inputs.v, inputs.g, inputs.beta))
    return reference_recurrent(q, k, v, g, beta, [0, tokens], inputs.initial_state.double())


@pytest.mark.parametrize("tokens", [1, 15, 16, 17, 32, 64, 65])
def test_it_is_right_at_the_block_of_the_length_and_at_the_fixed_one(tokens: int) -> None:
    kernels = tunable(shipped(HEADS.size))
    for block in {derived_block(tokens), 64}:
        for found, exact in zip(outputs(kernels, tokens, block), truth(tokens), strict=True):
            assert_close(found, exact)


@pytest.mark.parametrize("kernel", sorted(tried(32)))
def test_every_block_size_that_is_tried_gives_the_same_output(kernel: str) -> None:
    heads = Heads(1, 1, 128)
    inputs = draw_inputs(heads, 20, 0, CPU)
    one = shipped(128)
    # Warps and stages mean nothing to the interpreter.
    sizes = {tuple(config.kwargs.items()): config for config in tried(128)[kernel]}
    found = []
    for config in (one[kernel][0], *sizes.values()):
        launches, output, _ = chain(inputs, 32)
        kernels = tunable({**one, kernel: [config]})
        for launch in launches:
            kernels[launch.kernel][launch.grid](*launch.arguments, **launch.meta)
        found.append(output)
    for other in found[1:]:
        assert_close(other, found[0].double())


@pytest.mark.parametrize(
    ("tokens", "block"), [(1, 16), (16, 16), (17, 32), (32, 32), (33, 64), (64, 64), (65, 64), (8192, 64)]
)
def test_the_derived_block_is_the_length_rounded_up_from_16_to_64(tokens: int, block: int) -> None:
    assert derived_block(tokens) == block


def test_the_configurations_are_as_many_as_serving_engines_try() -> None:
    assert {name: len(configs) for name, configs in tried(128).items()} == {
        "cumsum": 4,
        "products": 27,
        "inverse": 12,
        "factors": 9,
        "states": 12,
        "output": 24,
    }


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_no_block_is_larger_than_the_head_and_what_is_shipped_was_a_choice(size: int) -> None:
    for name, configs in tried(size).items():
        assert all(block <= size for config in configs for block in config.kwargs.values())
        assert len({str(config) for config in configs}) == len(configs)
        (taken,) = shipped(size)[name]
        assert taken in configs


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_passes_of_a_warm_up_meet_every_block_that_a_request_can_have(variant: str) -> None:
    how = VARIANTS[variant]
    warmed = {how.block(tokens) for tokens in how.lengths}
    assert {how.block(tokens) for tokens in (1, 15, 16, 17, 33, 64, 1000, 8192)} <= warmed


def test_only_the_last_kernel_has_a_block_of_the_length() -> None:
    def blocks(variant: str, tokens: int) -> dict[str, int]:
        block = VARIANTS[variant].block(tokens)
        return {each.kernel: each.meta["BT"] for each in chain(draw_inputs(HEADS, tokens, 0, CPU), block)[0]}

    assert {name for name, block in blocks("naive", 16).items() if block != 64} == {"output"}
    assert set(blocks("precomputed", 16).values()) == {64}


def test_no_kernel_is_tuned_for_the_number_of_tokens() -> None:
    for kernel in tunable(tried(16)).values():
        assert "T" in kernel.arg_names
        assert "T" not in kernel.keys


def test_one_configuration_is_taken_without_a_benchmark() -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("benchmarked")

    kernels = WarmKernels("shipped", HEADS, refuse)
    inputs = draw_inputs(HEADS, 17, 0, CPU)

    assert_close(kernels.run(inputs), truth(17)[0])
    assert set(kernels.choices()) == set(tried(16))
