"""The order in which the kernels are launched, their arguments, and the configurations each may be compiled in.

The configurations are those that serving engines try on Hopper: 4, 27, 12, 9, 12 and 24 of them for heads of 128, which
makes 88 at one block size and 136 where the last kernel is tried at three. Source: the decorators of vLLM 0.18.1's copy
of flash-linear-attention, counted after pruning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
import triton
from syncwatch_kernels.gdn.numerics import CHUNK_SIZE, Kernel

from syncwatch_scenarios.kernel_warmup import unfused_kernels as kernels

_SMALLEST_BLOCK = 16
"""The smallest side that `tl.dot` takes."""

_KERNELS = {
    "cumsum": kernels.cumsum_kernel,
    "products": kernels.products_kernel,
    "inverse": kernels.inverse_kernel,
    "factors": kernels.factors_kernel,
    "states": kernels.states_kernel,
    "output": kernels.output_kernel,
}

_KEY = ("Hk", "Hv", "K", "V", "BT")
"""What a kernel is tuned for. Never the number of tokens."""

Benchmark = Callable[..., Any]
"""As `triton.testing.do_bench`: called with a launch, and with `quantiles`."""


@dataclass(frozen=True, slots=True)
class Heads:
    """Heads of one layer; the first three axes of every configuration's key."""

    keys: int
    values: int
    size: int
    """Of keys and of values."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of one kernel, before its configuration is chosen."""

    kernel: str
    grid: Callable[[Mapping[str, int]], tuple[int, ...]]
    """The grid, given the block sizes that were chosen."""

    arguments: tuple[Any, ...]
    meta: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Inputs:
    """One sequence of T tokens, as the layer has it after its projections."""

    q: torch.Tensor
    """bfloat16 [1, T, Hk, K], unit vectors."""

    k: torch.Tensor
    """As `q`."""

    v: torch.Tensor
    """bfloat16 [1, T, Hv, V]."""

    g: torch.Tensor
    """float32 [1, T, Hv], natural logarithm of the decay."""

    beta: torch.Tensor
    """float32 [1, T, Hv], from 0 to 1."""

    initial_state: torch.Tensor
    """float32 [1, Hv, V, K]."""


def derived_block(tokens: int) -> int:
    """Return the block size that upstream derived from the length, before vLLM #38343."""
    return min(CHUNK_SIZE, max(_SMALLEST_BLOCK, int(triton.next_power_of_2(tokens))))


def draw_inputs(heads: Heads, tokens: int, seed: int, device: torch.device) -> Inputs:
    """Draw a sequence; `meta` as the device gives shapes and dtypes without values."""
    generator = None if device.type == "meta" else torch.Generator(device).manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    def unit(*shape: int) -> torch.Tensor:
        return torch.nn.functional.normalize(normal(*shape), dim=-1).bfloat16()

    return Inputs(
        q=unit(1, tokens, heads.keys, heads.size),
        k=unit(1, tokens, heads.keys, heads.size),
        v=normal(1, tokens, heads.values, heads.size).bfloat16(),
        g=-torch.nn.functional.softplus(normal(1, tokens, heads.values)),
        beta=normal(1, tokens, heads.values).sigmoid(),
        initial_state=normal(1, heads.values, heads.size, heads.size),
    )


def chain(inputs: Inputs, block: int) -> tuple[list[Launch], torch.Tensor, torch.Tensor]:
    """Return the launches of the chunked gated delta rule, and its output and final state once they have run.

    Args:
        inputs: T tokens.
        block: rows of a chunk in the last kernel; all others have 64. Below 64, at least T.

    Returns:
        The launches in order; the output, bfloat16 [1, T, Hv, V]; the final state, float32 [1, Hv, V, K].
    """
    q, k, v, g, beta = inputs.q, inputs.k, inputs.v, inputs.g, inputs.beta
    tokens, value_heads, size = v.shape[1:]
    chunks = triton.cdiv(tokens, CHUNK_SIZE)
    scores = g.new_empty(1, tokens, value_heads, CHUNK_SIZE)
    inverse = v.new_empty(scores.shape)
    g_sum, w, u, corrected, o = (torch.empty_like(each) for each in (g, v, v, v, v))
    states = v.new_empty(chunks, value_heads, size, size)
    final_state = torch.empty_like(inputs.initial_state)
    gates = {"Hv": value_heads, "BT": CHUNK_SIZE}
    keys = {**gates, "Hk": k.shape[2], "K": size}
    both = {**keys, "V": size}
    tile = {"BK": min(64, size), "BV": min(64, size)}

    def each_chunk(_: Mapping[str, int]) -> tuple[int, ...]:
        return chunks, value_heads

    def each_column(meta: Mapping[str, int]) -> tuple[int, ...]:
        return size // meta["BV"], value_heads

    def each_tile(meta: Mapping[str, int]) -> tuple[int, ...]:
        return size // meta["BV"], chunks, value_heads

    launches = [
        Launch("cumsum", each_chunk, (g, g_sum, tokens), gates),
        Launch("products", each_chunk, (k, g_sum, beta, scores, tokens), keys),
        Launch("inverse", each_chunk, (scores, inverse, tokens), gates),
        Launch("factors", each_chunk, (k, v, g_sum, beta, inverse, w, u, tokens), {**both, **tile}),
        Launch(
            "states", each_column, (k, w, u, g_sum, inputs.initial_state, states, corrected, final_state, tokens), both
        ),
        Launch("output", each_tile, (q, k, corrected, states, g_sum, o, size**-0.5, tokens), {**both, "BT": block}),
    ]
    return launches, o, final_state


def tried(size: int) -> dict[str, list[triton.Config]]:
    """Return the configurations that are tried of each kernel, for heads of `size`."""
    few, more, many = (2, 4), (2, 4, 8), (1, 2, 4, 8)
    three = (2, 3, 4)
    narrow, wide = _blocks(size, 32, 64, 128), _blocks(size, 64, 128)
    return {
        "cumsum": list(_configs({}, many, (2,))),
        "products": list(_configs({"BK": narrow}, more, three)),
        "inverse": list(_configs({}, more, (*three, 5))),
        "factors": list(_configs({}, more, three)),
        "states": list(_configs({"BV": _blocks(size, 32, 64)}, few, three)),
        "output": list(_configs({"BK": wide, "BV": wide}, few, three)),
    }


def tunable(configs: Mapping[str, Sequence[triton.Config]], benchmark: Benchmark | None = None) -> dict[str, Any]:
    """Return each kernel as Triton's autotuner of its configurations; one configuration is taken without a benchmark.

    Args:
        configs: of each kernel, at least one.
        benchmark: times a configuration; Triton's own where None.
    """
    return {
        name: triton.autotune(configs=list(configs[name]), key=_key_of(kernel), do_bench=benchmark)(kernel)
        for name, kernel in _KERNELS.items()
    }


def _key_of(kernel: Kernel) -> list[str]:
    """Return the names of the key that `kernel` takes: Triton 3.9 refuses others, and before it passed over them."""
    return [name for name in _KEY if name in kernel.arg_names]


def _blocks(size: int, *offered: int) -> tuple[int, ...]:
    """Return the block sizes on offer that a head of `size` can fill, or the head itself."""
    return tuple(block for block in offered if block <= size) or (size,)


def _configs(
    blocks: Mapping[str, Sequence[int]], warps: Sequence[int], stages: Sequence[int]
) -> Iterator[triton.Config]:
    for *sizes, num_warps, num_stages in product(*blocks.values(), warps, stages):
        yield triton.Config(dict(zip(blocks, sizes, strict=True)), num_warps=num_warps, num_stages=num_stages)
