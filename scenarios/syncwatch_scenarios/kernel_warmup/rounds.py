"""Runs the fresh processes in turn, and makes a session of what they measured.

Variants take turns, every second round in reverse, one process each. On a GPU one more process of each variant is
watched, for the lines that wait; its times are not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from syncwatch.bench.scenario import Plan, Progress
from syncwatch.errors import UsageError
from syncwatch.model.events import Step
from syncwatch.model.session import Coverage, DeviceKind, Recording, Session
from syncwatch.sense.base import WatchedDevice
from syncwatch_scenarios.kernel_warmup import SCENARIO, WarmupOptions
from syncwatch_scenarios.kernel_warmup.figures import described
from syncwatch_scenarios.kernel_warmup.workload import KernelWarmupWorkload, build

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
