"""Runs a scenario and makes a session of it: compares outputs, watches every variant, then times them in rounds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch

from syncwatch.bench.scenario import OwnFigures, Plan, Progress, Scenario, Workload, parameters_of
from syncwatch.bench.what_if import WhatIf
from syncwatch.compat.tried import newer_than_tried
from syncwatch.model.session import DeviceKind, Recording, Replay, Session
from syncwatch.sense.base import Sensed, WatchedDevice
from syncwatch.sense.scopes.ranges import annotate, pacing, step

ROUNDS = 5
"""Interleaved rounds of the time pass, where nothing else was asked; the interval of the ratio is drawn over them."""
_COMPARED_STEPS = {DeviceKind.CUDA: 2, DeviceKind.VIRTUAL: 1}
_FILL_STEPS = 2
"""Steps at the start of a round that fill the run-ahead; their times are left out."""
_RUN_AHEAD = 1
"""Steps that may be enqueued while another still runs, as a serving engine does."""


class ScenarioRun:
    """One run of a scenario; `session` gives what there is, also after an exception ended it early."""

    def __init__(self, scenario: Scenario, options: Any, device: WatchedDevice, plan: Plan, progress: Progress) -> None:
        self._scenario = scenario
        self._options = options
        self._device = device
        self._plan = plan
        self._progress = progress
        self._phase = "build"
        self._parameters: dict[str, str] | None = None
        self._rounds: dict[str, list[tuple[int, ...]]] = {name: [] for name in plan.variants}
        self._figures: dict[str, list[dict[str, float | None]]] = {name: [] for name in plan.variants}
        self._priced: dict[str, tuple[int, ...]] = {}
        self._replays: dict[str, tuple[Replay, ...]] = {}
        self._sensed: dict[str, Sensed] = {}
        self._round = ""
        """The round that is timed, in words."""
        self._outputs_equal: bool | None = None
        self._complete = False

    def run(self) -> None:
        """Run every pass.

        Raises:
            UsageError: if the scenario refuses an option.
        """
        self._enter("build", 0)
        workload = self._scenario.build(self._options, torch.device("cuda"))
        self._parameters = parameters_of(workload, self._options)
        self._compare(workload)
        watched = [self._watch(workload, variant) for variant in self._plan.variants]
        questions = {each.variant: found for each in watched if (found := self._what_if(workload, each)) is not None}
        self._time(workload, questions)
        self._replays = {variant: question.replays() for variant, question in questions.items()}
        self._complete = True

    def session(self) -> Session:
        """Return everything that was recorded so far."""
        missing = () if self._complete else (f"The run ended early, in the phase: {self._phase}.",)
        environment = self._device.environment()
        return Session(
            target=self._scenario.name,
            device=self._device.kind,
            environment=environment,
            recordings=tuple(self._recordings()),
            outputs_equal=self._outputs_equal,
            complete=self._complete,
            missing=missing,
            parameters=self._parameters,
            notes=newer_than_tried(environment.torch, environment.triton),
            unwatched=self._device.unwatched(),
        )

    def _recordings(self) -> Iterator[Recording]:
        for name, sensed in self._sensed.items():
            if sensed.recording is not None:
                priced = self._priced.get(name, ())
                yield replace(
                    sensed.recording,
                    rounds_ns=tuple(self._rounds[name]),
                    priced_ns=priced,
                    replays=self._replays.get(name, ()),
                    figures=tuple(self._figures[name]),
                )

    def _enter(self, phase: str, total: int) -> None:
        self._phase = phase
        self._progress(phase, 0, total)

    def _compare(self, workload: Workload) -> None:
        """Compare the variants' outputs bit by bit, before any time is taken; this also compiles every kernel."""
        variants = self._plan.variants
        total = _COMPARED_STEPS[self._device.kind]
        self._enter("compare outputs", total)
        equal = True
        for index in range(total):
            first = workload.step(variants[0], index).clone()
            for other in variants[1:]:
                equal = equal and torch.equal(first, workload.step(other, index))
            self._progress(self._phase, index + 1, total)
        if len(variants) > 1:
            self._outputs_equal = equal

    def _time(self, workload: Workload, questions: Mapping[str, WhatIf]) -> None:
        """Take the honest step times: nothing attached, variants and replays in turn, every second round in reverse."""
        modelled = self._device.kind is DeviceKind.VIRTUAL
        if modelled and not questions:
            return
        for variant in self._plan.variants:
            # The watched steps of the virtual device are other steps than the replayed ones.
            self._rounds[variant].clear()
            self._figures[variant].clear()
            self._enter(f"warm up {variant}", self._plan.warmup)
            self._steps(workload, variant, self._plan.warmup, warmup=self._plan.warmup)
        # The virtual clock tells the same each time.
        rounds = 1 if modelled else self._plan.rounds or ROUNDS
        for number in range(rounds):
            self._round = f"round {number + 1} of {rounds}"
            lanes = [lane for variant in self._plan.variants for lane in self._lanes(workload, variant, questions)]
            for lane in lanes if number % 2 == 0 else lanes[::-1]:
                lane()

    def _lanes(self, workload: Workload, variant: str, questions: Mapping[str, WhatIf]) -> Iterator[Callable[[], None]]:
        """Yield what runs one round of `variant`, and one of each of its replays."""
        yield functools.partial(self._time_round, workload, variant)
        if variant in questions:
            yield from questions[variant].lanes(self._round_times)

    def _time_round(self, workload: Workload, variant: str) -> None:
        self._rounds[variant].append(tuple(self._round_times(workload, variant)))
        self._take_figures(workload, variant)

    def _round_times(self, workload: Workload, variant: str) -> list[int]:
        count = self._plan.steps + _FILL_STEPS
        self._enter(f"time {variant}, {self._round}", count)
        return self._steps(workload, variant, count, warmup=_FILL_STEPS)

    def _watch(self, workload: Workload, variant: str) -> Sensed:
        self._enter(f"watch {variant}", self._plan.warmup + self._plan.steps)
        with self._device.watch(variant, times=self._plan.prices) as sensed:
            self._sensed[variant] = sensed
            times = self._watched_steps(workload, variant)
        if self._device.kind is DeviceKind.VIRTUAL:
            self._rounds[variant].append(times)
            self._take_figures(workload, variant)
        elif self._plan.prices:
            self._priced[variant] = times
        return sensed

    def _take_figures(self, workload: Workload, variant: str) -> None:
        """Ask the workload for figures of its own of the round that has just ended, if it has any."""
        if isinstance(workload, OwnFigures):
            self._figures[variant].append(dict(workload.figures(variant)))

    def _what_if(self, workload: Workload, sensed: Sensed) -> WhatIf | None:
        """Return the recorded host values of a variant, ready to be replayed; None where that was not asked."""
        lines = self._plan.lines_of(sensed.recording) if self._plan.lines_of and sensed.recording else ()
        if not lines:
            return None
        count = self._plan.steps + _FILL_STEPS
        self._enter(f"record host values of {sensed.variant}", count)
        question = WhatIf(workload, sensed.variant, lines, count)
        question.prepare()
        return question

    def _watched_steps(self, workload: Workload, variant: str) -> tuple[int, ...]:
        warmup = self._plan.warmup
        return tuple(self._steps(workload, variant, warmup + self._plan.steps, warmup=warmup))

    def _steps(self, workload: Workload, variant: str, count: int, *, warmup: int) -> list[int]:
        """Run `count` steps with the run-ahead kept, and return the times of those after `warmup`, in ns."""
        with pacing():
            torch.cuda.synchronize()
        with annotate(variant):
            ends = list(self._enqueue(workload, variant, count, warmup))
        with pacing():
            torch.cuda.synchronize()
        return [round(start.elapsed_time(end) * 1e6) for start, end in pairwise(ends)][warmup:]

    def _enqueue(self, workload: Workload, variant: str, count: int, warmup: int) -> Iterator[torch.cuda.Event]:
        """Yield the event before the first step, and the one at the end of each."""
        ends = [_mark()]
        yield ends[0]
        for index in range(count):
            with step(warmup=index < warmup):
                if index > _RUN_AHEAD:
                    with pacing():
                        ends[index - _RUN_AHEAD].synchronize()
                workload.step(variant, index)
                ends.append(_mark())
            yield ends[-1]
            self._progress(self._phase, index + 1, count)


def _mark() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event
