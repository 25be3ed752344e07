"""kernel-warmup on a real GPU: what is compiled and benchmarked, what waits, and that serving does neither."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from syncwatch_scenarios.kernel_warmup.chain import Heads, tried
from syncwatch_scenarios.kernel_warmup.variants import VARIANTS
from syncwatch_scenarios.kernel_warmup.warm_process import SERVED
from syncwatch_scenarios.kernel_warmup.workload import KernelWarmupWorkload

from tests.helpers.command import ROOT, syncwatch

pytestmark = pytest.mark.gpu

HEADS = Heads(1, 2, 16)
WAITS_OF_A_BENCHMARK = 3
"""`triton.testing.do_bench` waits after the first launch, after its estimate and at its end."""


def expected(variant: str, size: int) -> int:
    counts = {name: len(configs) for name, configs in tried(size).items()}
    return {
        "naive": sum(counts.values()) + 2 * counts["output"],
        "precomputed": sum(counts.values()),
        "shipped": len(counts),
    }[variant]


@pytest.mark.parametrize("variant", VARIANTS)
def test_serving_after_the_warm_up_compiles_benchmarks_and_waits_for_nothing(variant: str) -> None:
    workload = KernelWarmupWorkload("tiny", HEADS, 0, on_gpu=True)

    errors = workload.step(variant, 0)
    workload.watch(variant)

    (warmup,) = workload.warmups(variant)
    figures = workload.figures(variant)
    assert warmup.compiled == expected(variant, HEADS.size)
    assert warmup.benchmarked is not None and warmup.refused is not None
    tuned = warmup.benchmarked + warmup.refused
    assert tuned == (0 if variant == "shipped" else warmup.compiled)
    assert [(each.tokens, each.compiled, each.benchmarked) for each in warmup.served] == [
        (tokens, 0, 0) for tokens in SERVED
    ]
    # The step itself raises where an output is wrong; here it counts that every length was checked.
    assert errors.shape == (len(SERVED),)
    assert figures["serving_syncs"] == 0
    assert figures["warmup_syncs"] is not None
    assert figures["warmup_syncs"] >= WAITS_OF_A_BENCHMARK * warmup.benchmarked
    if variant == "shipped":
        assert figures["warmup_syncs"] == 0


def test_what_is_shipped_fits_served_shapes_and_is_right() -> None:
    workload = KernelWarmupWorkload("qwen3.5-2b", Heads(16, 16, 128), 0, on_gpu=True)

    workload.step("shipped", 0)

    (warmup,) = workload.warmups("shipped")
    assert (warmup.compiled, warmup.benchmarked, warmup.refused) == (6, 0, 0)
    assert set(warmup.choices) == set(tried(128))


def test_the_report_has_a_line_for_the_waits_of_the_benchmarks(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    variants = ("--variant", "precomputed", "--variant", "shipped")

    ended = syncwatch("run", "kernel-warmup", "--preset", "tiny", "--steps", "1", *variants, "-o", str(path), cwd=ROOT)

    assert ended.code == 0, ended.err
    report = json.loads(path.read_text())
    tuned, shipped = report["variants"]
    assert tuned["per_step"]["syncs"] >= WAITS_OF_A_BENCHMARK * expected("precomputed", 16) / 2
    assert tuned["sites"]
    assert (shipped["per_step"]["syncs"], shipped["sites"]) == (0, [])
    assert shipped["step_ms"]["median"] > 0
    assert report["comparison"]["step_time_ratio"] is not None


def test_a_gate_lets_the_shipped_variant_pass() -> None:
    ended = syncwatch("gate", "kernel-warmup", "--preset", "tiny", "--steps", "1", cwd=ROOT)

    assert ended.code == 0, ended.out + ended.err
