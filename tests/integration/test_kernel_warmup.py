"""`syncwatch run kernel-warmup` without a GPU: fresh processes compile for Hopper, and launch nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from syncwatch_scenarios.kernel_warmup.chain import Heads
from syncwatch_scenarios.kernel_warmup.figures import Warmup
from syncwatch_scenarios.kernel_warmup.warm_process import Job
from syncwatch_scenarios.kernel_warmup.workload import measure

from syncwatch.errors import NotMeasuredError
from tests.helpers.command import ROOT, syncwatch

HEADS = Heads(1, 1, 16)

WITH_ONE_CONFIGURATION_EACH = """
import sys, msgspec, torch
from syncwatch_scenarios.kernel_warmup import warm_process as process
from syncwatch_scenarios.kernel_warmup import variants as variants
from syncwatch_scenarios.kernel_warmup.chain import chain, draw_inputs

tried = variants.tried
variants.tried = lambda size: {name: configs[:1] for name, configs in tried(size).items()}
for text in sys.argv[1:]:
    job = msgspec.json.decode(text, type=process.Job)
    process.main(job)

counts = process.Counts()
counts.listen()
kernels = variants.WarmKernels(job.variant, job.heads)
for tokens in process.SERVED:
    block = variants.VARIANTS[job.variant].block(tokens)
    for launch in chain(draw_inputs(job.heads, tokens, 0, torch.device("cpu")), block)[0]:
        kernels._kernels[launch.kernel].warmup(*launch.arguments, grid=(1,), **launch.meta)
print(counts.compiled)
"""


def test_a_block_of_the_length_compiles_the_last_kernel_for_each_class_of_lengths(tmp_path: Path) -> None:
    variants = ("precomputed", "naive")
    jobs = [Job(name, HEADS, 0, str(tmp_path / name), None, on_gpu=False) for name in variants]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}

    # All in one process, so that `naive` finds what `precomputed` compiled, and requests find what both compiled: each
    # count is of what was compiled beyond that.
    ended = subprocess.run(
        [sys.executable, "-c", WITH_ONE_CONFIGURATION_EACH, *(msgspec.json.encode(job).decode() for job in jobs)],
        env={**environment, "TRITON_CACHE_DIR": str(tmp_path / "cache")},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )

    fixed, derived = (msgspec.json.decode((tmp_path / name).read_bytes(), type=Warmup) for name in variants)
    by_requests = int(ended.stdout)
    assert (fixed.compiled, derived.compiled, by_requests) == (6, 2, 0)
    assert 0 < fixed.cache_bytes < derived.cache_bytes
    assert (fixed.benchmarked, fixed.served) == (None, ())
    assert fixed.compile_ns > 0 and fixed.warmup_ns > 0


def test_a_run_without_a_gpu_says_what_it_compiled_and_what_it_cannot_know(tmp_path: Path) -> None:
    path = tmp_path / "run.json"

    ended = syncwatch("run", "kernel-warmup", "--device", "virtual", "--variant", "shipped", "-o", str(path))

    assert ended.code == 0, ended.err
    (variant,) = json.loads(path.read_text())["variants"]
    assert (variant["name"], variant["steps"], variant["step_ms"]) == ("shipped", 0, None)
    assert variant["notes"][0].startswith("6 configurations compiled")
    assert "need a GPU" in ended.out
    assert "no step was measured" in ended.out


def test_a_process_that_fails_is_told_in_a_sentence() -> None:
    with pytest.raises(NotMeasuredError, match=r"kernel-warmup, none-such: the fresh process ended with .*none-such"):
        measure("none-such", HEADS, 0, on_gpu=False)


def test_what_it_cannot_do_is_refused_in_a_sentence() -> None:
    ended = syncwatch("run", "kernel-warmup", "--device", "virtual", "--batch", "2")

    assert ended.code == 2
    assert "--batch means nothing in kernel-warmup. Leave it out." in ended.err
