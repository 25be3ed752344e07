"""What a scenario declares, how often it runs, and what it does then: the contract between a scenario and the runner.

A `Scenario` is data: its name, variants and options can be read without torch. The work is named as `module:callable`
and imported only when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from syncwatch.bench.options import NoOptions, Option, option_words, options_of, read_options
from syncwatch.errors import UsageError

if TYPE_CHECKING:
    import torch

    from syncwatch.model.session import Line, Recording, Session
    from syncwatch.sense.base import WatchedDevice


@dataclass(frozen=True, slots=True)
class Plan:
    """How often everything runs."""

    variants: tuple[str, ...]
    steps: int
    warmup: int
    rounds: int | None = None
    """Interleaved rounds of the time pass; None for `ROUNDS`."""
    prices: bool = True
    """Whether times and kernels are recorded."""
    lines_of: Callable[[Recording], Sequence[Line]] | None = None
    """Finds the lines to ask "what if it did not wait?" of, the worst first; None where that was not asked."""


Progress = Callable[[str, int, int], None]
"""Called with the phase, the steps done and the steps to do."""


class Workload(Protocol):
    """A scenario that was built: its data on the device, and the input of every step decided by the options."""

    def step(self, variant: str, index: int) -> torch.Tensor:
        """Enqueue step `index` of `variant` and return its output, without waiting for the device.

        The metadata of a step is built anew each call. The same `index` gives the same inputs for every variant.

        Args:
            variant: a name from `Scenario.every_variant`.
            index: number of the step, from 0.

        Returns:
            The output that is compared between variants; any shape, on the device.
        """


@runtime_checkable
class OwnParameters(Protocol):
    """A workload that says what is run in words of its own; for the others the report has the values of the options."""

    @property
    def parameters(self) -> Mapping[str, str]:
        """What is run, for the report: preset, shapes, dtypes."""


@runtime_checkable
class OwnFigures(Protocol):
    """A workload with figures of its own, such as a server's tokens a second."""

    def figures(self, variant: str) -> Mapping[str, float | None]:
        """Return the figures of the round of `variant` that has just ended; None for what too few steps could give.

        Called behind a synchronization. A name ends in its unit: `tokens_per_s`, `ttft_ms_p99`.
        """


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


@dataclass(frozen=True, slots=True)
class Defaults:
    """A count where the user gives none."""

    cuda: int
    virtual: int
    """A modelled step is exact at once, and may take Triton's interpreter seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One entry of `syncwatch list`, offered under the entry point group `syncwatch.scenarios`.

    Raises:
        TypeError: if `options` declares no options, with what is wrong.
        ValueError: if there is no variant, one is there twice, or `workload` is not of the form `module:callable`.
    """

    name: str
    """What `syncwatch run` takes; that of the entry point."""
    summary: str
    """One line for `syncwatch list`."""
    variants: tuple[str, ...]
    """The ways to run it, the baseline first, the best last."""
    workload: str
    """What builds the `Workload`, as `module:callable`; called with the options and the `torch.device`.

    It raises `UsageError` if options contradict each other.
    """
    options: type = NoOptions
    """The dataclass that declares its options; see `syncwatch.bench.option`."""
    extra_variants: tuple[str, ...] = ()
    """Variants that run only where they are asked for by name."""
    steps: Defaults = Defaults(cuda=20, virtual=3)
    """Measured steps of each variant."""
    warmup: Defaults = Defaults(cuda=5, virtual=1)
    """Steps before the measured ones."""
    own_run: str | None = None
    """What opens a `Run`, as `module:callable`, of a scenario whose steps are processes of their own.

    Called with the options, the device, the plan and what is called with progress; nothing may be started by it.
    """
    declared: tuple[Option, ...] = field(init=False)
    """Its options, one by one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "declared", options_of(self.options))
        if not self.variants or len(set(self.every_variant)) < len(self.every_variant):
            raise ValueError(f"The variants of {self.name!r} must be at least one, each of another name.")
        for place in (self.workload, self.own_run):
            if place is not None and not all(place.partition(":")):
                raise ValueError(f"{place!r} names no callable. Write it as module:callable.")

    @property
    def every_variant(self) -> tuple[str, ...]:
        """Every variant that `--variant` takes: those that run by default, then the others."""
        return self.variants + self.extra_variants

    def read(self, given: Mapping[str, str | bool], *, virtual: bool) -> Any:
        """Return the options with what the user gave, by the names of the fields; the rest has its defaults.

        Raises:
            UsageError: if a name is none of them, or a value is refused.
        """
        return read_options(self.name, self.options, given, virtual=virtual)

    def build(self, options: Any, device: torch.device) -> Workload:
        """Import the work, and build it on `device`.

        Raises:
            UsageError: if an option is out of range, with the range, or two contradict each other.
        """
        self.check(options)
        return cast("Workload", _imported(self.workload)(options, device))

    def open_own_run(self, options: Any, device: WatchedDevice, plan: Plan, progress: Progress) -> Run | None:
        """Prepare the run of a scenario that runs itself; None of one that does not.

        Raises:
            UsageError: as `build`, and where the plan asks what it cannot give.
        """
        if self.own_run is None:
            return None
        self.check(options)
        return cast("Run", _imported(self.own_run)(options, device, plan, progress))

    def check(self, options: Any) -> None:
        """Refuse options that are not this scenario's, or are out of their range.

        Raises:
            UsageError: with what it takes.
        """
        if type(options) is not self.options:
            raise UsageError(f"{self.name} takes {self.options.__name__}, and not {type(options).__name__}.")
        for each in self.declared:
            each.check(getattr(options, each.name), self.name)


def parameters_of(workload: Workload, options: Any) -> dict[str, str]:
    """Return what is run, for the report: in the workload's own words, or else the options."""
    return dict(workload.parameters) if isinstance(workload, OwnParameters) else dict(option_words(options))


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
