"""Answers: how does what the user typed become a recorded session? `run` and `gate` share this."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from syncwatch.bench.registry import is_scenario
from syncwatch.cli.checkpoints import Checkpoints, Terminated, terminable
from syncwatch.cli.delivery import deliver_late, is_supervised
from syncwatch.cli.leaving import Leaving, Left
from syncwatch.cli.own_options import Given, not_for_code
from syncwatch.cli.refusing import exit_code_of
from syncwatch.cli.screen import announce, print_user_traceback, progress
from syncwatch.cli.streams import only_documents, settle
from syncwatch.errors import (
    EXIT_CLEAN,
    EXIT_INTERRUPTED,
    EXIT_NOT_MEASURED,
    EXIT_TERMINATED,
    NotMeasuredError,
    SyncwatchError,
    UsageError,
)
from syncwatch.model.events import SyncEvent, SyncKind
from syncwatch.model.session import DeviceKind, Session
from syncwatch.pipeline import waiting_lines
from syncwatch.sense.device import DeviceChoice, open_device, require_torch
from syncwatch.sense.forks import is_child
from syncwatch.watching import watch

if TYPE_CHECKING:
    from syncwatch.bench.runner import Plan
    from syncwatch.bench.scenario import Scenario
    from syncwatch.bench.target import Target

_OURS = Path(__file__).resolve().parents[1]


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: what was recorded, and what else the user must be told."""

    session: Session
    exit_code: int = EXIT_CLEAN
    message: str | None = None


def words_of(target: str | None, arguments: list[str] | None, module: str | None) -> tuple[str, ...]:
    """Return what was typed beside the options.

    Raises:
        UsageError: if that is nothing.
    """
    words = tuple(word for word in (target, *(arguments or ())) if word is not None)
    if module is None and not words:
        raise UsageError("Nothing to run. Give a scenario (see syncwatch list), a script.py, or pkg.mod:function.")
    return words


Finish = Callable[[Outcome], int]
"""Reports, and returns the exit code: what a command does with its run."""


def record(request: Request, finish: Finish, *, only_report: bool, candidate_only: bool = False) -> Outcome:
    """Run what was asked and return what the sensors recorded.

    Args:
        request: what was asked.
        finish: what the caller will do with the outcome; called here where the target leaves the process itself.
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
        return judged_by_prices(request, _run_scenario(request, candidate_only))
    _refuse_what_only_scenarios_take(request)
    with only_documents(only_report):
        arguments = request.words if request.module else request.words[1:]
        outcome = _run_code(_code_target(request), list(arguments), request, finish)
        return judged_by_prices(request, outcome)


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
        raise UsageError(not_for_code(meaningless))


def _run_scenario(request: Request, candidate_only: bool) -> Outcome:
    from syncwatch.bench import registry
    from syncwatch.bench.runner import ScenarioRun

    name, *rest = request.words
    if rest:
        raise UsageError(f"A scenario takes no arguments, and {rest[0]!r} is one. See syncwatch run --help.")
    scenario = registry.load(name)
    with closing(open_device(request.device)) as device:
        options = scenario.read(request.options, virtual=device.kind is DeviceKind.VIRTUAL)
        plan = _plan(request, scenario, device.kind, candidate_only)
        with progress(f"{name} on {device.kind.value}") as show:

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
                return _interrupted(scenario_run.session(), error)
            except Exception as error:
                print_user_traceback(error)
                return _ended(name, scenario_run.session(), f"raised {type(error).__name__}")
        return Outcome(scenario_run.session())


def _plan(request: Request, scenario: Scenario, device: DeviceKind, candidate_only: bool) -> Plan:
    from syncwatch.bench.runner import Plan

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
        lines_of=waiting_lines if request.what_if else None,
        prices=request.prices is not False,
    )


def _code_target(request: Request) -> Target:
    from syncwatch.bench import target

    if request.module is not None:
        return target.module(request.module)
    name = request.words[0]
    if name.endswith(".py") or ":" not in name:
        return target.script(name)
    return target.function(name)


def _run_code(target: Target, arguments: list[str], request: Request, finish: Finish) -> Outcome:
    watching = watch(request.device.value, target=target.name, prices=request.prices is not False)
    checkpoints = Checkpoints(request.output, watching.snapshot)

    def conclude(left: Left) -> int:
        def rest() -> int:
            checkpoints.close()
            outcome = _left(target.name, watching, left)
            return finish(judged_by_prices(request, outcome))

        return exit_code_of(rest)

    status: object = None
    try:
        with checkpoints.every_now_and_then(), terminable(), watching, Leaving(conclude):
            announce(f"watching {target.name} on {watching.device_name()} ...")
            status = target.run(arguments, on_error=print_user_traceback)
            _keep_listening(watching)
            if is_supervised():
                # This process was started for the command alone.
                from syncwatch.bench.ending import spare_the_last_looks

                spare_the_last_looks()
    except SyncwatchError:
        raise
    except KeyboardInterrupt as error:
        if is_child():
            _leave_child(EXIT_INTERRUPTED)
        return _interrupted(watching.session, error)
    except BaseException as error:
        if is_child():
            _leave_child(1)
        if not watching.has_ended:
            why = f"{type(error).__name__}: {error}".rstrip(": ")
            said = f"The watch of {target.name} could not be ended ({why}), so nothing was judged."
            raise NotMeasuredError(
                f"{said} See what the target takes from Python, such as files or recursion."
            ) from error
        return _ended(target.name, watching.session, f"raised {type(error).__name__}")
    succeeded = status is None or (isinstance(status, int) and status == 0)
    if is_child():
        _leave_child(status if isinstance(status, int) else int(not succeeded))
    if not succeeded:
        return _ended(target.name, _cut_short(watching.session, "SystemExit"), f"ended with exit status {status}")
    return Outcome(watching.session)


def _left(name: str, watching: watch, left: Left) -> Outcome:
    """Return how a run ended whose target leaves the process without coming back."""
    if left.status == 0:
        return Outcome(watching.cut(()))
    if left.status is not None:
        session = watching.cut([_cut_short_by("os._exit")])
        return _ended(name, session, f"ended with exit status {left.status}")
    session = watching.cut([f"The target replaced itself by another program ({left.program}), which is not watched."])
    message = (
        f"{name} replaced itself by another program ({left.program}): the report covers what ran before. Watch that "
        "program itself."
    )
    return Outcome(session, EXIT_NOT_MEASURED, message)


def _cut_short(session: Session, how: str) -> Session:
    return replace(session, complete=False, missing=(*session.missing, _cut_short_by(how)))


def _cut_short_by(how: str) -> str:
    return f"The run was ended by {how}; what came after it is not in the report."


def _keep_listening(watching: watch) -> None:
    """Let the supervisor hear of waits between the end of the watch and that of the process."""
    if not is_supervised() or is_child():
        return

    def tell(event: SyncEvent | None) -> None:
        if event is None or event.kind is SyncKind.ALLOCATION or event.pacing or event.explicit or event.allowed:
            return
        deliver_late(
            f"After the report was made, the CPU waited for the GPU at {_caller()}, while Python ended. That is in no "
            "report; end it before the target's code ends, then watch it again.",
        )

    watching.stay(tell)


def _caller() -> str:
    """Return the line that waits: the innermost one that is neither ours nor torch's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if not path.is_relative_to(_OURS) and "torch" not in path.parts:
            return f"{path.name}:{frame.f_lineno}"
        frame = frame.f_back
    return "a place that has no line"


def _leave_child(code: int) -> NoReturn:
    """End the child of a fork, which has nothing to report.

    At once, since an orderly end would stop the parent's profiler in a process where CUDA does not work.
    """
    settle()
    os._exit(code)


def _interrupted(session: Session, error: KeyboardInterrupt) -> Outcome:
    if isinstance(error, Terminated):
        return Outcome(session, EXIT_TERMINATED, "Terminated: the report is partial.")
    return Outcome(session, EXIT_INTERRUPTED, "Interrupted: the report is partial.")


def _ended(name: str, session: Session, how: str) -> Outcome:
    advice = "Make it run to its end, then watch it again."
    if how.endswith("OutOfMemoryError"):
        advice = "Give it less to do, or a GPU with more memory, then watch it again."
    return Outcome(session, EXIT_NOT_MEASURED, f"{name} {how}: the report covers what ran before. {advice}")


def judged_by_prices(request: Request, outcome: Outcome) -> Outcome:
    """Let a run that had to have prices fail where it has none."""
    unpriced = [each.variant for each in outcome.session.recordings if each.kernels is None]
    if request.prices is not True or outcome.exit_code != EXIT_CLEAN or not unpriced:
        return outcome
    message = f"Prices were asked for, and {', '.join(unpriced)} has none: see the notes of the report."
    return replace(outcome, exit_code=EXIT_NOT_MEASURED, message=message)
