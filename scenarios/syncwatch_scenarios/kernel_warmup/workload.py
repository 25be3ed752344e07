"""Gathers what the fresh processes of each variant measured. A step is one of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton

from syncwatch.model.session import Recording
from syncwatch.pipeline import report_of
from syncwatch_scenarios.hybrid_model.sizes import PRESETS
from syncwatch_scenarios.kernel_warmup import WarmupOptions
from syncwatch_scenarios.kernel_warmup.chain import Heads
from syncwatch_scenarios.kernel_warmup.counts import Warmup
from syncwatch_scenarios.kernel_warmup.figures import figures_of
from syncwatch_scenarios.kernel_warmup.fresh import measure
from syncwatch_scenarios.kernel_warmup.warm_process import SERVED, TARGET


class KernelWarmupWorkload:
    """The heads of one preset, and what was measured of each variant."""

    def __init__(self, preset: str, heads: Heads, seed: int, *, on_gpu: bool) -> None:
        self._preset = preset
        self._heads = heads
        self._seed = seed
        self._on_gpu = on_gpu
        self._warmups: dict[str, list[Warmup]] = {}
        self._watched: dict[str, Recording] = {}
        self._syncs: dict[str, tuple[float, float]] = {}

    @property
    def parameters(self) -> Mapping[str, str]:
        """What is run, for the report."""
        heads = self._heads
        served = ", ".join(map(str, SERVED))
        return {
            "preset": self._preset,
            "GDN heads": f"{heads.keys} key, {heads.values} value, of {heads.size}",
            "a step": "the warm-up of a fresh process with an empty Triton cache",
            "compiled for": "the GPU" if self._on_gpu else f"{TARGET.backend} {TARGET.arch}, not launched",
            "then served": f"sequences of {served} tokens" if self._on_gpu else "nothing",
            "dtype": "bfloat16, state float32",
            "seed": str(self._seed),
        }

    def step(self, variant: str, index: int) -> torch.Tensor:
        """Warm up `variant` in a fresh process, and wait for it; `index` changes nothing.

        Returns:
            float32 [5]: the error of each length's output, relative to a float64 recurrence. Empty without a GPU.

        Raises:
            NotMeasuredError: if the process fails, or serves a wrong result.
        """
        warmup = measure(variant, self._heads, self._seed, on_gpu=self._on_gpu).warmup
        self._warmups.setdefault(variant, []).append(warmup)
        return torch.tensor([each.error for each in warmup.served if each.error is not None], dtype=torch.float32)

    def watch(self, variant: str) -> None:
        """Run one more process of `variant`, with the lines that wait watched; its times are not used.

        Raises:
            NotMeasuredError: if the process fails, or cannot be watched.
        """
        session = measure(variant, self._heads, self._seed, on_gpu=True, watched=True).session
        assert session is not None
        self._watched[variant] = session.recordings[0]
        warm_up, serving = ((each.per_step.syncs or 0.0) * each.steps for each in report_of(session).variants)
        self._syncs[variant] = warm_up, serving

    def warmups(self, variant: str) -> tuple[Warmup, ...]:
        """Return what each step of `variant` measured."""
        return tuple(self._warmups.get(variant, ()))

    def watched(self, variant: str) -> Recording | None:
        """Return what was watched of the warm-up of `variant`; None where it was not."""
        return self._watched.get(variant)

    def figures(self, variant: str) -> Mapping[str, float | None]:
        """Return the figures of `figures_of` over all steps of `variant` so far; None where they need a GPU."""
        return figures_of(self._warmups[variant], self._syncs.get(variant))


def build(options: WarmupOptions, device: torch.device) -> KernelWarmupWorkload:
    """Prepare the processes; none is started. On the virtual device they compile for Hopper, and launch nothing."""
    shape = PRESETS[options.preset]
    heads = Heads(shape.key_heads, shape.value_heads, shape.head_size)
    return KernelWarmupWorkload(options.preset, heads, options.seed, on_gpu=not triton.knobs.runtime.interpret)
