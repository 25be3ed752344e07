"""Measures how fast the GPU and the host are with one layer of `gdn-prefill`; its regimes are built on these figures.

    python benchmarks/prefill_pace.py [PRESET...]

Prints two figures beside those that `gdn_prefill/host_work.py` states. One is the GPU's nanoseconds for a layer and a
token, at the tokens of the balanced regime and at 8,192, with steps enqueued back to back. The other is the host's
microseconds to launch a layer on 64 tokens, with an empty queue before each step. Measure again when kernels have
become faster: 20 % are enough to lose the balance.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
from syncwatch_scenarios.gdn_prefill import SCENARIO, PrefillOptions
from syncwatch_scenarios.gdn_prefill.host_work import LAUNCH_US_PER_LAYER, PACES
from syncwatch_scenarios.gdn_prefill.prefill_run import prefill_run

from syncwatch.bench import Workload

VARIANT = "precomputed"
WARMUP, STEPS = 3, 10
LAUNCHED_TOKENS = 64


def gpu_ns(preset: str, tokens: int) -> float:
    """Return the GPU time of one token in one layer, in ns."""
    options = PrefillOptions(preset, tokens=tokens)
    workload = SCENARIO.build(options, torch.device("cuda"))
    warm_up(workload)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for index in range(STEPS):
        workload.step(VARIANT, index)
    end.record()
    torch.cuda.synchronize()
    took_ms: float = start.elapsed_time(end)
    return took_ms * 1e6 / STEPS / tokens / prefill_run(options).shape.layers


def launch_us(preset: str) -> float:
    """Return the host's time to launch one layer, in us."""
    options = PrefillOptions(preset, tokens=LAUNCHED_TOKENS)
    workload = SCENARIO.build(options, torch.device("cuda"))
    warm_up(workload)
    taken = []
    for index in range(STEPS):
        torch.cuda.synchronize()
        began = time.perf_counter()
        workload.step(VARIANT, index)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e6 / prefill_run(options).shape.layers


def warm_up(workload: Workload) -> None:
    """Run some steps, so that every kernel is compiled before the timing."""
    for index in range(WARMUP):
        workload.step(VARIANT, index)
    torch.cuda.synchronize()


def main() -> None:
    """Measure the presets named on the command line, or all served ones."""
    print(f"{'preset':16} {'stated ns':>9} {'balanced':>9} {'at 8192':>9} {'stated us':>9} {'launch us':>9}")
    for preset in sys.argv[1:] or [name for name in PACES if name != "tiny"]:
        pace = PACES[preset]
        balanced, long, launching = gpu_ns(preset, pace.balanced_tokens), gpu_ns(preset, 8192), launch_us(preset)
        print(
            f"{preset:16} {pace.gpu_ns:9} {balanced:9.0f} {long:9.0f} {LAUNCH_US_PER_LAYER:9} {launching:9.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
