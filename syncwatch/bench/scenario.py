"""Answers: what must a scenario provide? The contract between the runner and one file of `scenarios/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from syncwatch.errors import UsageError
from syncwatch.model.session import Session

if TYPE_CHECKING:
    from syncwatch.bench.plan import Plan, Progress
    from syncwatch.sense.base import WatchedDevice


@dataclass(frozen=True, slots=True)
class ScenarioOptions:
    """What the user chose; None where the preset decides."""

    preset: str | None = None
    tokens: int | None = None
    """Prefill tokens a step, over all sequences."""
    batch: int | None = None
    """Sequences a step."""
    layers: int | None = None
    cache_miss: bool = False
    """Whether identity caches are defeated, so that a cached host read happens once a layer."""
    seed: int = 0
    regime: str | None = None
    """How much the host has to do beside launching: a name that the scenario knows."""
    lengths: str | None = None
    """The sequences of a step, as `8x1024`, `512,1024` or `ragged`."""


class Workload(Protocol):
    """A scenario that was built: weights on the device, and the batches of every step decided by the seed."""

    @property
    def parameters(self) -> Mapping[str, str]:
        """What is run, for the report: preset, shapes, dtypes."""

    def step(self, variant: str, index: int) -> torch.Tensor:
        """Enqueue step `index` of `variant` and return its output, without waiting for the device.

        The metadata of a step is built anew each call. The same `index` gives the same inputs for every variant.

        Args:
            variant: a name from `Scenario.variants`.
            index: number of the step, from 0.

        Returns:
            The output that is compared between variants; any shape, on the device.
        """


@runtime_checkable
class OwnFigures(Protocol):
    """A workload with figures of its own, such as a server's tokens a second."""

    def figures(self, variant: str) -> Mapping[str, float | None]:
        """Return the figures of the round of `variant` that has just ended; None for what too few steps could give.

        Called behind a synchronization. A name ends in its unit: `tokens_per_s`, `ttft_ms_p99`.
        """


class Scenario(Protocol):
    """One entry of `syncwatch list`."""

    @property
    def name(self) -> str:
        """The name on the command line."""

    @property
    def summary(self) -> str:
        """One line for `syncwatch list`."""

    @property
    def variants(self) -> tuple[str, ...]:
        """The ways to run it, the baseline first, the best last."""

    @property
    def presets(self) -> tuple[str, ...]:
        """The names that `--preset` takes."""

    def default_preset(self, virtual: bool) -> str:
        """Return the preset that runs where none was named."""

    def build(self, options: ScenarioOptions, device: torch.device) -> Workload:
        """Build the weights and the batches on `device`.

        Raises:
            UsageError: if an option is out of range, with the range.
        """


@runtime_checkable
class MoreVariants(Protocol):
    """A scenario with variants that run only where they are asked for by name."""

    @property
    def extra_variants(self) -> tuple[str, ...]:
        """Their names."""


class Run(Protocol):
    """One run of a scenario; `session` gives what there is, also after an exception ended it early."""

    def run(self) -> None:
        """Run everything.

        Raises:
            UsageError: if the scenario refuses an option.
            NotMeasuredError: if it cannot be measured here.
        """

    def session(self) -> Session:
        """Return everything that was recorded so far."""


@runtime_checkable
class OwnProcesses(Protocol):
    """A scenario whose step is a process of its own: it runs itself, a few steps of each variant."""

    def default_steps(self, virtual: bool) -> int:
        """Return how many steps of each variant run where the user does not say."""

    def open_run(self, options: ScenarioOptions, device: WatchedDevice, plan: Plan, progress: Progress) -> Run:
        """Prepare a run; nothing is started.

        Raises:
            UsageError: if an option is out of range, with the range.
        """


def variants_of(scenario: Scenario) -> tuple[str, ...]:
    """Return every variant that `--variant` takes: those that run by default, then the others."""
    return scenario.variants + (scenario.extra_variants if isinstance(scenario, MoreVariants) else ())


def refuse_options(scenario: str, options: ScenarioOptions, *fields: str) -> None:
    """Refuse options that mean nothing in `scenario`.

    Raises:
        UsageError: naming the first that was given.
    """
    for field in fields:
        given = getattr(options, field)
        if given is not None and given is not False:
            raise UsageError(f"--{field.replace('_', '-')} means nothing in {scenario}. Leave it out.")


def require_range(option: str, value: int, low: int, high: int) -> None:
    """Refuse a value outside `low` to `high`.

    Raises:
        UsageError: with the range.
    """
    if not low <= value <= high:
        raise UsageError(f"{option} must be from {low} to {high} here, but is {value}.")
