"""Runs fresh processes in turn, gathers what those of each variant measured, and makes a session of it.

Variants take turns, every second round in reverse, one process each. On a GPU one more process of each variant is
watched, for the lines that wait; its times are not used.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import torch
import triton

from syncwatch.bench.scenario import Plan, Progress
from syncwatch.errors import NotMeasuredError, UsageError
from syncwatch.model.events import Step
from syncwatch.model.session import Coverage, DeviceKind, Recording, Session
from syncwatch.pipeline import report_of
from syncwatch.sense.base import WatchedDevice
from syncwatch_scenarios.hybrid_model.sizes import PRESETS
from syncwatch_scenarios.kernel_warmup import SCENARIO, WarmupOptions
from syncwatch_scenarios.kernel_warmup.chain import Heads
from syncwatch_scenarios.kernel_warmup.figures import Warmup, described, figures_of
from syncwatch_scenarios.kernel_warmup.warm_process import SERVED, TARGET, Job

_MODULE = "syncwatch_scenarios.kernel_warmup.warm_process"
_CHOSEN_BY_US = ("TRITON_CACHE_DIR", "TRITON_CACHE_MANAGER", "TRITON_ALWAYS_COMPILE", "TRITON_INTERPRET")
"""Variables that would give the process another cache, or no compiler; the virtual device sets the last."""

TOLERANCE = 0.005
"""Largest relative RMSE against float64: what a correct chain loses by rounding its intermediates to bfloat16."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One process."""

    warmup: Warmup
    session: Session | None
    """The lines that waited, as the recordings `warm-up` and `serving`; None where nothing was watched."""


def measure(variant: str, heads: Heads, seed: int, *, on_gpu: bool, watched: bool = False) -> Measured:
    """Warm up `variant` in a process of its own, wait for it, and remove its cache.

    Raises:
        NotMeasuredError: if the process fails, or serves a wrong result.
    """
    with tempfile.TemporaryDirectory(prefix="syncwatch-kernel-warmup-") as folder:
        answer, session, cache = (Path(folder, name) for name in ("answer.json", "session.json", "cache"))
        job = Job(variant, heads, seed, str(answer), str(session) if watched else None, on_gpu)
        _run(job, cache)
        warmup = msgspec.json.decode(answer.read_bytes(), type=Warmup)
        found = Session.load(session) if watched else None
    for each in warmup.served:
        if each.error is None or each.error > TOLERANCE:
            how = "not finite" if each.error is None else f"off by {each.error:.1e} of its RMS"
            raise NotMeasuredError(
                f"kernel-warmup, {variant}: the output for {each.tokens} tokens is {how}, so that its times mean "
                "nothing. Report the GPU and the Triton version."
            )
    return Measured(warmup, found)


def _run(job: Job, cache: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in _CHOSEN_BY_US}
    ended = subprocess.run(
        [sys.executable, "-m", _MODULE, msgspec.json.encode(job).decode()],
        env={**environment, "TRITON_CACHE_DIR": str(cache)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1]
        raise NotMeasuredError(
            f"kernel-warmup, {job.variant}: the fresh process ended with {last!r}. Check that Triton works here with "
            "`syncwatch doctor`, then run it again."
        )


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


_NOTHING_LAUNCHED = "no kernel was launched: warm-up time, benchmarks, waits and serving need a GPU"


class KernelWarmupRun:
    """One run; `session` gives what there is, also after an exception ended it early."""

    def __init__(
        self, target: str, workload: KernelWarmupWorkload, device: WatchedDevice, plan: Plan, progress: Progress
    ) -> None:
        self._target = target
        self._workload = workload
        self._device = device
        self._plan = plan
        self._progress = progress
        self._rounds: dict[str, list[tuple[int, ...]]] = {name: [] for name in plan.variants}
        self._complete = False

    def run(self) -> None:
        """Run every process.

        Raises:
            NotMeasuredError: if one of them fails.
        """
        total = self._plan.warmup + self._plan.steps
        for number in range(total):
            order = self._plan.variants if number % 2 == 0 else self._plan.variants[::-1]
            for variant in order:
                phase = f"fresh process, {variant}, round {number + 1} of {total}"
                self._progress(phase, 0, 1)
                self._workload.step(variant, number)
                self._progress(phase, 1, 1)
                if number >= self._plan.warmup:
                    self._rounds[variant].append((self._workload.warmups(variant)[-1].warmup_ns,))
        if self._on_gpu:
            for variant in self._plan.variants:
                self._progress(f"watch {variant}", 0, 1)
                self._workload.watch(variant)
                self._progress(f"watch {variant}", 1, 1)
        self._complete = True

    def session(self) -> Session:
        """Return everything that was measured so far."""
        return Session(
            target=self._target,
            device=self._device.kind,
            environment=self._device.environment(),
            recordings=tuple(self._recordings()),
            outputs_equal=None,
            complete=self._complete,
            missing=() if self._complete else ("The run ended before every process had.",),
            parameters=dict(self._workload.parameters),
        )

    @property
    def _on_gpu(self) -> bool:
        return self._device.kind is DeviceKind.CUDA

    def _recordings(self) -> Iterator[Recording]:
        for variant in self._plan.variants:
            if not self._rounds[variant]:
                continue
            notes = described(self._workload.figures(variant))
            watched = self._workload.watched(variant)
            if watched is None:
                # Compile times of this machine are no times of the device, so that they stand in the notes alone.
                rounds = self._rounds[variant] if self._on_gpu else []
                yield replace(_nothing_watched(variant), rounds_ns=tuple(rounds), notes=notes)
            else:
                yield replace(watched, variant=variant, rounds_ns=tuple(self._rounds[variant]), notes=notes)


def _nothing_watched(variant: str) -> Recording:
    return Recording(
        variant=variant,
        # A recording without steps would count as one step without waits; no step of this one was measured.
        steps=(Step(0, warmup=True, start_ns=0, end_ns=0),),
        rounds_ns=(),
        modelled=False,
        threads=(),
        frames=(),
        stacks=(),
        syncs=(),
        copies=None,
        kernels=None,
        ranges=(),
        coverage=Coverage((), (_NOTHING_LAUNCHED,), None, 0),
    )


def open_run(options: WarmupOptions, device: WatchedDevice, plan: Plan, progress: Progress) -> KernelWarmupRun:
    """Return the run of fresh processes.

    Raises:
        UsageError: where the plan asks what it cannot give.
    """
    for option, asked in (("--what-if", plan.lines_of), ("--rounds", plan.rounds)):
        if asked is not None:
            raise UsageError(f"{option} means nothing in {SCENARIO.name}. Leave it out.")
    return KernelWarmupRun(SCENARIO.name, build(options, torch.device("cuda")), device, plan, progress)
