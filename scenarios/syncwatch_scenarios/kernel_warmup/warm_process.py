"""Measures one warm-up in a process that has never seen its kernels. Run as a process of its own.

    python -m syncwatch_scenarios.kernel_warmup.warm_process JOB

JOB is a `Job` as JSON; the answer is a `Warmup` as JSON, in the file that the job names. The caller gives the process
an empty TRITON_CACHE_DIR.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import torch
import triton
from syncwatch_kernels.gdn.reference import reference_recurrent
from triton.backends.compiler import GPUTarget

from syncwatch.model.codec import write_json
from syncwatch.model.session import Recording, Session
from syncwatch.sense.choose_device import DeviceChoice, open_device
from syncwatch.sense.scopes.ranges import annotate, pacing, step
from syncwatch_scenarios.kernel_warmup.chain import Heads, Inputs, draw_inputs
from syncwatch_scenarios.kernel_warmup.figures import Counts, Served, Warmup
from syncwatch_scenarios.kernel_warmup.variants import WarmKernels


class Watch:
    """Watches the lines that wait. Not their times: every launch of every benchmark would be recorded.

    Args:
        on: whether to watch at all; a process whose times count must not.

    Raises:
        NotMeasuredError: if there is no GPU to watch.
    """

    def __init__(self, *, on: bool) -> None:
        self._device = open_device(DeviceChoice.CUDA) if on else None
        self._recordings: list[Recording] = []

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Watch everything inside, as the recording `name`."""
        if self._device is None:
            yield
            return
        with self._device.watch(name, times=False) as sensed:
            yield
        if sensed.recording is not None:
            self._recordings.append(sensed.recording)

    def session(self) -> Session:
        """Return what was seen of each part; only where it is on."""
        assert self._device is not None
        return Session(
            target="kernel-warmup",
            device=self._device.kind,
            environment=self._device.environment(),
            recordings=tuple(self._recordings),
            outputs_equal=None,
            complete=True,
        )


SERVED = (1, 17, 64, 1000, 8192)
"""Tokens of the requests after the warm-up."""

TARGET = GPUTarget("cuda", 90, 32)
"""What is compiled for where there is no GPU: Hopper."""

_REPEATS = 10


class Job(msgspec.Struct, frozen=True):
    """What the process has to do."""

    variant: str
    heads: Heads
    seed: int
    answer: str
    """Path of the answer."""

    session: str | None
    """Path of a session: warm-up and serving are watched, and their times are then no honest ones."""

    on_gpu: bool
    """Whether to run on the GPU; otherwise everything is compiled for Hopper and nothing is launched."""


def main(job: Job) -> None:
    """Warm up, serve, and write the answer."""
    counts = Counts()
    counts.listen()
    write_json(_on_gpu(job, counts) if job.on_gpu else _compiled_only(job, counts), Path(job.answer))


def _on_gpu(job: Job, counts: Counts) -> Warmup:
    device = torch.device("cuda")
    requests = [draw_inputs(job.heads, tokens, job.seed, device) for tokens in SERVED]
    kernels = WarmKernels(job.variant, job.heads, counts.benchmark)
    torch.cuda.synchronize()
    watch = Watch(on=job.session is not None)
    with watch.part("warm-up"):
        started = time.perf_counter_ns()
        with step(), annotate("warm up"):
            kernels.warm_up(device)
            _wait()
        ended = time.perf_counter_ns()
    compiled, compile_ns, benchmarked = counts.compiled, sum(counts.compile_ns), counts.benchmarked
    with watch.part("serving"):
        first = [_first(kernels, each, counts) for each in requests]
    if job.session is not None:
        watch.session().save(job.session)
    return Warmup(
        warmup_ns=ended - started,
        compiled=compiled,
        compile_ns=compile_ns,
        cache_bytes=_cache_bytes(),
        benchmarked=benchmarked,
        refused=counts.refused,
        choices=kernels.choices(),
        served=tuple(_served(kernels, each, *found) for each, found in zip(requests, first, strict=True)),
    )


def _first(kernels: WarmKernels, request: Inputs, counts: Counts) -> tuple[int, int, int]:
    """Serve `request`; return what was compiled and benchmarked for it, and its time in ns."""
    compiled, benchmarked, started = counts.compiled, counts.benchmarked, time.perf_counter_ns()
    with step():
        kernels.run(request)
        _wait()
    return counts.compiled - compiled, counts.benchmarked - benchmarked, time.perf_counter_ns() - started


def _served(kernels: WarmKernels, request: Inputs, compiled: int, benchmarked: int, first_ns: int) -> Served:
    times = []
    for _ in range(_REPEATS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        output = kernels.run(request)
        end.record()
        torch.cuda.synchronize()
        times.append(round(start.elapsed_time(end) * 1e6))
    tokens = request.v.shape[1]
    return Served(tokens, compiled, benchmarked, first_ns, round(statistics.median(times)), _error(request, output))


def _error(request: Inputs, output: torch.Tensor) -> float | None:
    """Return RMSE(output, truth) / RMS(truth); None where that is no number, which JSON cannot hold."""
    q, k, v, g, beta = (each.double() for each in (request.q, request.k, request.v, request.g, request.beta))
    truth, _ = reference_recurrent(q, k, v, g, beta, [0, output.shape[1]], request.initial_state.double())
    error = ((output.double() - truth).square().mean() / truth.square().mean()).sqrt().item()
    return error if math.isfinite(error) else None


def _wait() -> None:
    """Wait for the device, marked as our own wait."""
    with pacing():
        torch.cuda.synchronize()


def _compiled_only(job: Job, counts: Counts) -> Warmup:
    triton.runtime.driver.set_active(_Compiler())
    started = time.perf_counter_ns()
    WarmKernels(job.variant, job.heads).compile_all()
    ended = time.perf_counter_ns()
    return Warmup(
        warmup_ns=ended - started,
        compiled=counts.compiled,
        compile_ns=sum(counts.compile_ns),
        cache_bytes=_cache_bytes(),
        benchmarked=None,
        refused=None,
        choices={},
        served=(),
    )


class _Compiler:
    """What Triton asks its driver for before it compiles; there is no device behind it."""

    def get_current_target(self) -> GPUTarget:
        return TARGET

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def _cache_bytes() -> int:
    return sum(path.stat().st_size for path in Path(triton.knobs.cache.dir).rglob("*") if path.is_file())


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Job))
