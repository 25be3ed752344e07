"""Answers: what does `syncwatch run` do? It watches a scenario or code of the user's, and reports."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from syncwatch.cli.options import Format, FormatOption, require_writable, show
from syncwatch.cli.screen import print_user_traceback, progress, say, stdout_to_stderr
from syncwatch.errors import EXIT_CLEAN, EXIT_INTERRUPTED, EXIT_NOT_MEASURED, SyncwatchError, UsageError
from syncwatch.model.session import DeviceKind, Session
from syncwatch.pipeline import report_of, write_run
from syncwatch.sense.device import DeviceChoice, open_device, require_torch
from syncwatch.watching import watch

if TYPE_CHECKING:
    from syncwatch.bench.runner import Plan
    from syncwatch.bench.scenario import Scenario, ScenarioOptions
    from syncwatch.bench.target import Target


def run(
    target: Annotated[
        Optional[str],  # noqa: UP045  # typer evaluates this on Python 3.10
        typer.Argument(help="A scenario, a script.py, or pkg.mod:function.", show_default=False),
    ] = None,
    arguments: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help="Arguments of the script or module, after --.", show_default=False),
    ] = None,
    module: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("-m", "--module", help="Run a module, as python -m does.", metavar="PKG.MOD"),
    ] = None,
    device: Annotated[
        DeviceChoice, typer.Option(help="auto takes the GPU if there is one, else the virtual device.")
    ] = DeviceChoice.AUTO,
    variant: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Only this variant of a scenario; may be given more than once.", show_default="all"),
    ] = None,
    steps: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Measured steps of a scenario.", show_default="20, virtual 3"),
    ] = None,
    warmup: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, help="Steps before the measured ones.", show_default="5, virtual 1"),
    ] = None,
    preset: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Model shapes of a scenario; see syncwatch list."),
    ] = None,
    tokens: Annotated[Optional[int], typer.Option(min=1, help="Tokens a step.")] = None,  # noqa: UP045
    batch: Annotated[Optional[int], typer.Option(min=1, help="Sequences a step.")] = None,  # noqa: UP045
    layers: Annotated[Optional[int], typer.Option(min=1, help="Layers of the stack.")] = None,  # noqa: UP045
    cache_miss: Annotated[
        bool, typer.Option("--cache-miss", help="Defeat identity caches: one host read a layer.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of weights and batches.")] = 0,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--output", help="Write the run: the JSON report and the recording behind it."),
    ] = None,
    form: FormatOption = Format.TERMINAL,
) -> None:
    """Watch a scenario, or your own code, and say which lines make the CPU wait.

    Examples: syncwatch run gdn-prefill; syncwatch run train.py -- --epochs 1; syncwatch run -m pkg.mod.
    """
    require_writable(output)
    words = [word for word in (target, *(arguments or ())) if word is not None]
    if module is None and not words:
        raise UsageError("Nothing to run. Give a scenario (see syncwatch list), a script.py, or pkg.mod:function.")
    require_torch()
    from syncwatch.bench.scenario import ScenarioOptions
    from syncwatch.bench.target import is_code

    if module is None and not is_code(words[0]):
        if len(words) > 1:
            raise UsageError(f"A scenario takes no arguments, and {words[1]!r} is one. See syncwatch run --help.")
        options = ScenarioOptions(preset, tokens, batch, layers, cache_miss, seed)
        outcome = _run_scenario(words[0], options, _Counts(tuple(variant or ()), steps, warmup), device)
    else:
        with stdout_to_stderr(form is Format.JSON):
            outcome = _run_code(_code_target(module, words), words if module else words[1:], device)
    _finish(outcome, output, form)


@dataclass(frozen=True, slots=True)
class _Counts:
    """What the user asked of the runner; None where the device decides."""

    variants: tuple[str, ...]
    steps: int | None
    warmup: int | None

    def plan(self, scenario: Scenario, device: DeviceKind) -> Plan:
        from syncwatch.bench.runner import Plan

        unknown = [name for name in self.variants if name not in scenario.variants]
        if unknown:
            offered = ", ".join(scenario.variants)
            raise UsageError(f"{scenario.name} has no variant {unknown[0]!r}. Choose from {offered}.")
        # A modelled step is exact at once, and takes the interpreter seconds.
        steps, warmup = (20, 5) if device is DeviceKind.CUDA else (3, 1)
        return Plan(
            variants=self.variants or scenario.variants,
            steps=self.steps if self.steps is not None else steps,
            warmup=self.warmup if self.warmup is not None else warmup,
        )


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a run ended: what was recorded, and what else the user must be told."""

    session: Session
    exit_code: int = EXIT_CLEAN
    message: str | None = None


def _run_scenario(name: str, options: ScenarioOptions, counts: _Counts, choice: DeviceChoice) -> _Outcome:
    from syncwatch.bench import registry
    from syncwatch.bench.runner import ScenarioRun

    registry.require(name)
    with closing(open_device(choice)) as device:
        # After the device: it decides how the scenario's Triton kernels are run.
        scenario = registry.load(name)
        preset = options.preset or scenario.default_preset(device.kind is DeviceKind.VIRTUAL)
        plan = counts.plan(scenario, device.kind)
        with progress(f"{name} on {device.kind.value}") as advance:
            scenario_run = ScenarioRun(scenario, replace(options, preset=preset), device, plan, advance)
            try:
                scenario_run.run()
            except KeyboardInterrupt:
                return _Outcome(scenario_run.session(), EXIT_INTERRUPTED, "Interrupted: the report is partial.")
        return _Outcome(scenario_run.session())


def _code_target(module: str | None, words: list[str]) -> Target:
    from syncwatch.bench import target

    if module is not None:
        return target.module(module)
    if words[0].endswith(".py") or ":" not in words[0]:
        return target.script(words[0])
    return target.function(words[0])


def _run_code(target: Target, arguments: list[str], choice: DeviceChoice) -> _Outcome:
    watching = watch(choice.value, target=target.name)
    try:
        with watching:
            target.run(arguments)
    except SyncwatchError:
        raise
    except KeyboardInterrupt:
        return _Outcome(watching.session, EXIT_INTERRUPTED, "Interrupted: the report is partial.")
    except SystemExit as end:
        if end.code in (None, 0):
            return _Outcome(replace(watching.session, complete=True, missing=()))
        return _ended(target, watching.session, f"ended with exit status {end.code}")
    except Exception as error:
        print_user_traceback(error)
        return _ended(target, watching.session, f"raised {type(error).__name__}")
    return _Outcome(watching.session)


def _ended(target: Target, session: Session, how: str) -> _Outcome:
    message = f"{target.name} {how}: the report covers what ran before. Make it run to its end, then watch it again."
    return _Outcome(session, EXIT_NOT_MEASURED, message)


def _finish(outcome: _Outcome, output: Path | None, form: Format) -> None:
    if output is not None:
        write_run(outcome.session, output)
    show(report_of(outcome.session), form)
    if outcome.message is not None:
        say(outcome.message)
    raise typer.Exit(outcome.exit_code)
