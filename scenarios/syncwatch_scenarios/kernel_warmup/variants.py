"""How each variant of the scenario warms up: which lengths, which block sizes, which configurations."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
import triton
from syncwatch_kernels.gdn.numerics import CHUNK_SIZE

from syncwatch_scenarios.kernel_warmup.chain import (
    Benchmark,
    Heads,
    Inputs,
    chain,
    derived_block,
    draw_inputs,
    tried,
    tunable,
)


@dataclass(frozen=True, slots=True)
class HowToWarmUp:
    """One variant."""

    lengths: tuple[int, ...]
    """Tokens of each pass."""

    block_of_length: bool
    """Whether the block size of the last kernel is derived from the length, rather than always 64."""

    tuned: bool
    """Whether configurations are compiled one after the other and benchmarked, rather than shipped."""

    def block(self, tokens: int) -> int:
        """Return the block size for a sequence of `tokens`."""
        return derived_block(tokens) if self.block_of_length else CHUNK_SIZE


VARIANTS = {
    "naive": HowToWarmUp((16, 32, 64), block_of_length=True, tuned=True),
    "precomputed": HowToWarmUp((64,), block_of_length=False, tuned=True),
    "shipped": HowToWarmUp((64,), block_of_length=False, tuned=False),
}
"""`naive` is upstream before vLLM #38343, `precomputed` after it."""


def shipped(size: int) -> dict[str, list[triton.Config]]:
    """Return the one configuration of each kernel that is shipped, for heads of `size`.

    `benchmarks/kernel_warmup.py` lists what a GPU's own benchmark takes, and how much faster that is.
    """
    whole, half, quarter = (min(block, size) for block in (128, 64, 32))
    return {
        "cumsum": [triton.Config({}, num_warps=1, num_stages=2)],
        "products": [triton.Config({"BK": whole}, num_warps=4, num_stages=2)],
        "inverse": [triton.Config({}, num_warps=4, num_stages=2)],
        "factors": [triton.Config({}, num_warps=4, num_stages=2)],
        "states": [triton.Config({"BV": quarter}, num_warps=4, num_stages=2)],
        "output": [triton.Config({"BK": half, "BV": half}, num_warps=4, num_stages=2)],
    }


class WarmKernels:
    """The kernels of one variant in one process, cold until one of its methods warms them up."""

    def __init__(self, variant: str, heads: Heads, benchmark: Benchmark | None = None) -> None:
        self._how = VARIANTS[variant]
        self._heads = heads
        self._configs = tried(heads.size) if self._how.tuned else shipped(heads.size)
        self._kernels = tunable(self._configs, benchmark)

    def run(self, inputs: Inputs) -> torch.Tensor:
        """Enqueue one sequence, and return its output, bfloat16 [1, T, Hv, V]."""
        launches, output, _ = chain(inputs, self._how.block(inputs.v.shape[1]))
        for launch in launches:
            self._kernels[launch.kernel][launch.grid](*launch.arguments, **launch.meta)
        return output

    def warm_up(self, device: torch.device) -> None:
        """Make everything ready that requests of any length need, by running them on `device`."""
        if not self._how.tuned:
            # The first launch would build a launcher in C and load the code, one kernel after the other.
            with ThreadPoolExecutor() as pool:
                list(pool.map(_make_ready, self.compile_all()))
        for tokens in self._how.lengths:
            self.run(draw_inputs(self._heads, tokens, 0, device))

    def compile_all(self) -> list[Any]:
        """Compile every configuration and launch none: side by side if they are shipped, otherwise one by one.

        Returns:
            The compiled kernels, or Triton's futures of them, which are done.
        """
        if self._how.tuned:
            return self._compile()
        with ThreadPoolExecutor(os.cpu_count()) as pool, triton.AsyncCompileMode(pool):
            return self._compile()

    def choices(self) -> dict[str, str]:
        """Return the configuration that each kernel runs in, by its name and block size."""
        found: dict[str, str] = {}
        for name, kernel in self._kernels.items():
            if len(self._configs[name]) == 1:
                found[name] = str(self._configs[name][0])
            for key, config in kernel.cache.items():
                found[f"{name}, block {_block_of(kernel, key)}"] = str(config)
        return found

    def _compile(self) -> list[Any]:
        compiled: list[Any] = []
        for tokens in self._how.lengths:
            inputs = draw_inputs(self._heads, tokens, 0, torch.device("meta"))
            for launch in chain(inputs, self._how.block(tokens))[0]:
                compiled += self._kernels[launch.kernel].warmup(*launch.arguments, grid=(1,), **launch.meta)
        return compiled


def _make_ready(compiled: Any) -> None:
    """Do all of a kernel's first launch but the launch."""
    kernel = compiled.result() if hasattr(compiled, "result") else compiled
    _ = kernel.run


def _block_of(kernel: Any, key: tuple[Any, ...]) -> Any:
    """Return the BT of an autotuner's key, which holds the values of its `keys` that the kernel has."""
    return key[[name for name in kernel.keys if name in kernel.arg_names].index("BT")]
