"""Record what the user typed: a scenario, or code of their own. `run` and `gate` share this."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from syncwatch.app.checkpoints import Checkpoints, terminable
from syncwatch.app.outcome import Console, Finish, RunOutcome, ended, interrupted
from syncwatch.bench.options import Given, scenario_option_refusal
from syncwatch.bench.registry import is_scenario
from syncwatch.errors import EXIT_CLEAN, EXIT_NOT_MEASURED, SyncwatchError, UsageError
from syncwatch.model.events import SyncKind
from syncwatch.model.report import NO_LINE
from syncwatch.model.session import DeviceKind, Line, Recording
from syncwatch.model.window import WindowRequest
from syncwatch.pipeline import analysed_recording, sense
from syncwatch.sense.choose_device import DeviceChoice, open_device, require_torch

if TYPE_CHECKING:
    from syncwatch.bench.scenario import Plan, Scenario
    from syncwatch.bench.target import Target


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked to be run; None where the device or the preset decides."""

    words: tuple[str, ...]
    """The target and its arguments; arguments alone where `module` is given."""
    module: str | None
    device: DeviceChoice
    variants: tuple[str, ...]
    """Empty for the caller's default."""
    steps: int | None
    warmup: int | None
    options: Given = field(default_factory=dict)
    """What was typed of the scenario's own options, by name."""
    rounds: int | None = None
    what_if: bool = False
    prices: bool | None = None
    """True: the run has failed without them; False: they are not taken; None: they are taken where they can be."""
    output: Path | None = None
    """Where the run is kept, now and then while it goes on."""
    window: WindowRequest | None = None
    """The part of the program that is watched; None for all of it."""


def target_words(target: str | None, arguments: list[str] | None, module: str | None) -> tuple[str, ...]:
    """Return what was typed beside the options.

    Raises:
        UsageError: if that is nothing.
    """
    words = tuple(word for word in (target, *(arguments or ())) if word is not None)
    if module is None and not words:
        raise UsageError("Nothing to run. Give a scenario (see syncwatch list), a script.py, or pkg.mod:function.")
    return words


def record(
    request: Request, finish: Finish, console: Console, *, only_report: bool, candidate_only: bool = False
) -> RunOutcome:
    """Run what was asked and return what the sensors recorded.

    Args:
        request: what was asked.
        finish: what the caller will do with the outcome; called here where the target leaves the process itself.
        console: who started it.
        only_report: whether stdout is for a report alone, so that the watched code prints to stderr.
        candidate_only: whether a scenario without named variants runs its last one instead of all.

    Raises:
        UsageError: if there is no such target.
        NotMeasuredError: if the device cannot be watched here.
    """
    if request.module is None:
        _refuse_other_files(request.words[0])
    require_torch()
    from syncwatch.bench.target import is_code

    if request.module is None and not is_code(request.words[0]):
        _refuse_window_of_a_scenario(request)
        return judged_by_prices(request, _run_scenario(request, console, candidate_only))
    _refuse_what_only_scenarios_take(request)
    from syncwatch.app.own_code import run_code

    def finish_judged(outcome: RunOutcome) -> int:
        return finish(_judged(request, outcome))

    with console.only_documents(only_report):
        arguments = request.words if request.module else request.words[1:]
        target = _code_target(request)
        watching = sense(request.device.value, target.name, prices=request.prices is not False, window=request.window)
        outcome = run_code(target, arguments, watching, request.output, finish_judged, console)
        return _judged(request, outcome)


def target_file(words: tuple[str, ...], module: str | None) -> Path | None:
    """Return the file that the target is, a script or a saved run; None for anything else."""
    path = Path(words[0]) if module is None else None
    return path.absolute() if path is not None and _is_there(path) else None


def _refuse_other_files(text: str) -> None:
    """Refuse a file that is no Python file: what it holds might run as some program by accident.

    Raises:
        UsageError: with what to do instead.
    """
    path = Path(text)
    if path.suffix == ".py" or is_scenario(text) or not _is_there(path):
        return
    if path.is_dir():
        advice = "Give a file in it, or a package with -m."
        raise UsageError(f"{text} is a folder, and cannot be run. {advice}")
    raise UsageError(
        f"{text} is no Python file: only files called .py are run. If it is a run or a trace, `syncwatch report` shows "
        "it; if it is a program, give it a name that ends in .py."
    )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _refuse_what_only_scenarios_take(request: Request) -> None:
    if request.what_if:
        raise UsageError(
            "--what-if runs the same step many times, which only a scenario can. Make your step a scenario first."
        )
    asked = {
        "--variant": request.variants or None,
        "--steps": request.steps,
        "--warmup": request.warmup,
        "--rounds": request.rounds,
    }
    # Not by truth: 0 is a count that was asked for.
    meaningless = next((option for option, value in asked.items() if value is not None), None)
    if meaningless is not None:
        raise UsageError(scenario_option_refusal(meaningless))


def _refuse_window_of_a_scenario(request: Request) -> None:
    if request.window is not None:
        raise UsageError(
            "--skip-steps, --for-steps, --seconds and --signal choose a window of code of your own. A scenario has "
            "--warmup for the steps before the measured ones, and --steps for those."
        )


def _run_scenario(request: Request, console: Console, candidate_only: bool) -> RunOutcome:
    from syncwatch.bench import registry
    from syncwatch.bench.runner import ScenarioRun

    name, *rest = request.words
    if rest:
        raise UsageError(f"A scenario takes no arguments, and {rest[0]!r} is one. See syncwatch run --help.")
    scenario = registry.load_scenario(name)
    with closing(open_device(request.device)) as device:
        options = scenario.read(request.options, virtual=device.kind is DeviceKind.VIRTUAL)
        plan = _plan(request, scenario, device.kind, candidate_only)
        with console.progress(f"{name} on {device.kind.value}") as show:

            def advance(phase: str, done: int, total: int) -> None:
                if done == 0:
                    # Between phases, where writing disturbs no measurement.
                    checkpoints.write()
                show(phase, done, total)

            # After the device, which decides how the scenario's Triton kernels are run.
            scenario_run = scenario.open_own_run(options, device, plan, advance) or ScenarioRun(
                scenario, options, device, plan, advance
            )
            checkpoints = Checkpoints(request.output, scenario_run.session)
            try:
                with terminable():
                    scenario_run.run()
            except SyncwatchError:
                raise
            except KeyboardInterrupt as error:
                return interrupted(scenario_run.session(), error)
            except Exception as error:
                console.print_user_traceback(error)
                return ended(name, scenario_run.session(), f"raised {type(error).__name__}")
        return RunOutcome(scenario_run.session())


def _plan(request: Request, scenario: Scenario, device: DeviceKind, candidate_only: bool) -> Plan:
    from syncwatch.bench.scenario import Plan

    unknown = [name for name in request.variants if name not in scenario.every_variant]
    if unknown:
        offered = ", ".join(scenario.every_variant)
        raise UsageError(f"{scenario.name} has no variant {unknown[0]!r}. Choose from {offered}.")
    default = scenario.variants[-1:] if candidate_only else scenario.variants
    steps, warmup = (
        each.virtual if device is DeviceKind.VIRTUAL else each.cuda for each in (scenario.steps, scenario.warmup)
    )
    return Plan(
        # Once each: a variant that is named twice is one.
        variants=tuple(dict.fromkeys(request.variants)) or default,
        steps=request.steps if request.steps is not None else steps,
        warmup=request.warmup if request.warmup is not None else warmup,
        rounds=request.rounds,
        lines_of=_waiting_lines if request.what_if else None,
        prices=request.prices is not False,
    )


def _waiting_lines(recording: Recording) -> tuple[Line, ...]:
    """Return the lines at which the measured steps of `recording` wait, the worst first."""
    sites = analysed_recording(recording).summary.sites
    waits = (site for site in sites if site.kind is not SyncKind.ALLOCATION and site.file != NO_LINE)
    return tuple(dict.fromkeys(Line(site.file, site.line) for site in waits))


def _code_target(request: Request) -> Target:
    from syncwatch.bench import target

    if request.module is not None:
        return target.module(request.module)
    name = request.words[0]
    if name.endswith(".py") or ":" not in name:
        return target.script(name)
    return target.function(name)


def _judged(request: Request, outcome: RunOutcome) -> RunOutcome:
    return judged_by_window(judged_by_prices(request, outcome))


def judged_by_window(outcome: RunOutcome) -> RunOutcome:
    """Let a run of code fail that recorded nothing, since its window never began."""
    session = outcome.session
    if session.recordings or outcome.exit_code != EXIT_CLEAN:
        return outcome
    return replace(outcome, exit_code=EXIT_NOT_MEASURED, message=f"Nothing was measured. {' '.join(session.missing)}")


def judged_by_prices(request: Request, outcome: RunOutcome) -> RunOutcome:
    """Let a run that had to have prices fail where it has none."""
    unpriced = [each.variant for each in outcome.session.recordings if each.kernels is None]
    if request.prices is not True or outcome.exit_code != EXIT_CLEAN or not unpriced:
        return outcome
    message = f"Prices were asked for, and {', '.join(unpriced)} has none: see the notes of the report."
    return replace(outcome, exit_code=EXIT_NOT_MEASURED, message=message)
