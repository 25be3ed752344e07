"""The life of one fresh process, on the virtual device: a stub stands for Triton's benchmark, which needs a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import syncwatch_scenarios.kernel_warmup.warm_process as process
import triton
from syncwatch_scenarios.kernel_warmup.chain import Heads, tried
from syncwatch_scenarios.kernel_warmup.figures import Counts, Warmup

import syncwatch
from tests.helpers.kernel_fixtures import TOLERANCE

HEADS = Heads(1, 1, 16)


def count_and_run(counts: Counts, launch: Callable[[], None], quantiles: tuple[float, ...]) -> list[float]:
    launch()
    counts.benchmarked += 1
    return [1.0 for _ in quantiles]


@pytest.mark.parametrize("variant", ["naive", "precomputed"])
def test_every_configuration_is_benchmarked_once_and_none_for_a_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variant: str
) -> None:
    monkeypatch.setattr(process, "SERVED", (1, 17, 33, 65))
    monkeypatch.setattr(process, "_REPEATS", 1)
    monkeypatch.setattr(Counts, "benchmark", count_and_run)
    monkeypatch.setattr(triton.knobs.compilation, "listener", None)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    answer = tmp_path / "answer.json"

    with syncwatch.watch("virtual"):
        process.main(process.Job(variant, HEADS, 0, str(answer), None, on_gpu=True))

    warmup = msgspec.json.decode(answer.read_bytes(), type=Warmup)
    counts = {name: len(configs) for name, configs in tried(HEADS.size).items()}
    assert warmup.benchmarked == sum(counts.values()) + (2 * counts["output"] if variant == "naive" else 0)
    assert [(each.tokens, each.benchmarked) for each in warmup.served] == [(1, 0), (17, 0), (33, 0), (65, 0)]
    assert all(each.error is not None and each.error <= TOLERANCE for each in warmup.served)
    blocks = (16, 32, 64) if variant == "naive" else (64,)
    assert {name for name in warmup.choices if name.startswith("output")} == {
        f"output, block {block}" for block in blocks
    }
