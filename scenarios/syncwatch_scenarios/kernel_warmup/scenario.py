"""Answers: what does it cost a starting server to derive a kernel's block size from the sequence length?

Each step is a fresh process with an empty Triton cache. Before it serves, it compiles its kernels, and benchmarks every
configuration of each on the GPU, which waits three times for each. In `naive` the last kernel has a block size for
each class of lengths, so that it takes three warm-up passes; in `precomputed` the block size is fixed, and one will do.
Source: vLLM #38343. `shipped` brings one configuration of each kernel along, compiles them side by side and benchmarks
none. After that, requests of lengths that the warm-up has not seen must neither compile nor benchmark anything.
"""

from __future__ import annotations

import torch
import triton

from syncwatch.bench.runner import Plan, Progress
from syncwatch.bench.scenario import ScenarioOptions, refuse_options
from syncwatch.errors import UsageError
from syncwatch.sense.base import WatchedDevice
from syncwatch_scenarios.hybrid_model.sizes import PRESETS, find_preset
from syncwatch_scenarios.kernel_warmup.chain import Heads
from syncwatch_scenarios.kernel_warmup.rounds import KernelWarmupRun
from syncwatch_scenarios.kernel_warmup.variants import VARIANTS
from syncwatch_scenarios.kernel_warmup.workload import KernelWarmupWorkload


class KernelWarmup:
    """The entry of `syncwatch list`."""

    name = "kernel-warmup"
    summary = (
        "A server's start: Triton block sizes derived from the length, against one fixed size, against shipped ones"
    )
    variants = tuple(VARIANTS)
    presets = tuple(PRESETS)

    def default_preset(self, virtual: bool) -> str:
        """Return the preset that runs where none was named; on a GPU the heads of the published figure's model."""
        return "tiny" if virtual else "qwen3-next-80b"

    def default_steps(self, virtual: bool) -> int:
        """Return how many processes of each variant run where the user does not say."""
        return 1 if virtual else 3

    def build(self, options: ScenarioOptions, device: torch.device) -> KernelWarmupWorkload:
        """Prepare the processes; none is started. On the virtual device they compile for Hopper, and launch nothing.

        Raises:
            UsageError: if an option is unknown, or means nothing here.
        """
        refuse_options(self.name, options, "tokens", "batch", "layers", "cache_miss", "regime", "lengths")
        preset = options.preset or "tiny"
        shape = find_preset(preset, self.name)
        heads = Heads(shape.key_heads, shape.value_heads, shape.head_size)
        return KernelWarmupWorkload(preset, heads, options.seed, on_gpu=not triton.knobs.runtime.interpret)

    def open_run(
        self, options: ScenarioOptions, device: WatchedDevice, plan: Plan, progress: Progress
    ) -> KernelWarmupRun:
        """Return the run of fresh processes; raises as `build` does, and where the plan asks what it cannot give."""
        for option, asked in (("--what-if", plan.lines_of), ("--rounds", plan.rounds)):
            if asked is not None:
                raise UsageError(f"{option} means nothing in {self.name}. Leave it out.")
        return KernelWarmupRun(self.name, self.build(options, torch.device("cuda")), device, plan, progress)


SCENARIO = KernelWarmup()
