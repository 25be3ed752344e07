"""The command `syncwatch gate`: judges a run, new or saved, and its exit code is the verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional

import typer

from syncwatch.app.gate import adjusted, baseline_for, case_of, judged
from syncwatch.app.outcome import Finish
from syncwatch.app.outcome import RunOutcome as Run
from syncwatch.app.project.config import read_settings
from syncwatch.app.report import show_and_keep
from syncwatch.app.run import Request, record, target_file, target_words
from syncwatch.bench.options import Given
from syncwatch.bench.registry import is_scenario
from syncwatch.cli import completion, console
from syncwatch.cli.options import (
    DeviceOption,
    FormatOption,
    ForStepsOption,
    ModuleOption,
    OutputOption,
    SecondsOption,
    SignalOption,
    SkipStepsOption,
    StepRangeOption,
    StepsOption,
    WarmupOption,
    formats,
    only_report,
    require_files_apart,
)
from syncwatch.cli.outputs import require_writable
from syncwatch.cli.screen import announce_analysis, print_error
from syncwatch.cli.streams import err, out, settle
from syncwatch.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, NotMeasuredError, UsageError
from syncwatch.judge.baseline import exceeds, key_of, variant_scope
from syncwatch.judge.baseline_file import Changes
from syncwatch.model.report import Report
from syncwatch.model.verdict import KnownSite, Outcome, SiteKey
from syncwatch.model.window import window_request
from syncwatch.pipeline import analysed
from syncwatch.report.text import plural, shown
from syncwatch.report.verdict import verdict_sentence
from syncwatch.sense.choose_device import DeviceChoice
from syncwatch.sense.reached import ReachedFunctions
from syncwatch.traces.opening import is_recording_file, open_session

_SHOWN = 40
"""New entries that are listed; the first baseline of a large project has hundreds. What rose is listed whole."""


def sentences(changes: Changes, path: Path, report: Report) -> Iterator[str]:
    """Yield what happened to the baseline at `path`, a line each: how much, then what is new and what rose."""
    counts = (
        (len(changes.added), "new"),
        (len(changes.raised), "raised"),
        (len(changes.lowered), "lowered"),
        (len(changes.removed), "removed"),
    )
    yield f"{shown(str(path))}: {', '.join(f'{count} {word}' for count, word in counts if count) or 'nothing changed'}."
    lines = _lines(report)
    for before, after in changes.raised:
        yield f"  raised {_place(after, lines)}: {_risen(before, after)}"
    for entry in changes.added[:_SHOWN]:
        yield f"  new {_place(entry, lines)}: {_calls(entry.calls_per_step)} a step"
    if len(changes.added) > _SHOWN:
        yield f"  and {len(changes.added) - _SHOWN} more new ones"


def _lines(report: Report) -> dict[tuple[str, SiteKey], list[int]]:
    found: dict[tuple[str, SiteKey], list[int]] = defaultdict(list)
    for variant in report.variants:
        for site in variant.sites:
            found[variant_scope(variant), key_of(site)].append(site.line)
    return found


def _place(entry: KnownSite, lines: dict[tuple[str, SiteKey], list[int]]) -> str:
    key = entry.key
    numbers = sorted(set(lines.get((entry.variant, key), ())) - {0})
    where = f"{key.path}:{','.join(map(str, numbers))}" if numbers else key.path
    return shown(f"{where} {key.code} {key.source}".rstrip())


def _risen(before: KnownSite, after: KnownSite) -> str:
    parts = []
    if after.sites > before.sites:
        parts.append(f"{before.sites} -> {plural(after.sites, 'such line')}")
    if exceeds(after.calls_per_step, before.calls_per_step):
        parts.append(f"{before.calls_per_step:g} -> {_calls(after.calls_per_step)} a step")
    return ", ".join(parts)


def _calls(count: float) -> str:
    return f"{count:g} {'call' if count == 1 else 'calls'}"


def gate(
    target: Annotated[
        Optional[str],  # noqa: UP045  # typer evaluates this on Python 3.10
        typer.Argument(
            help="A scenario, a script.py, or pkg.mod:function; or a file that syncwatch run -o wrote, or a trace.",
            show_default=False,
            autocompletion=completion.scenarios_and_runs,
        ),
    ] = None,
    arguments: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help="Arguments of the script or module, after --.", show_default=False),
    ] = None,
    module: ModuleOption = None,
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The policy.", show_default="syncwatch.toml or pyproject.toml, from here upwards"),
    ] = None,
    max_syncs: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0, help="Disallowed syncs a step that may stay.", show_default="the policy's, else 0"),
    ] = None,
    max_gain_us: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=0,
            help="Microseconds that a step may gain at most without its implicit waits; on CUDA alone.",
            show_default="the policy's, else any",
        ),
    ] = None,
    baseline: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The known sites.", show_default=".syncwatch-baseline.jsonl beside the policy, if there"),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update-baseline", help="Write what is disallowed now to the baseline, then judge.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Fail on baseline entries that are gone, rules that match nothing and budgets not judged."
        ),
    ] = False,
    require: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="PKG.MOD:FUNCTION",
            help="Exit 3 unless the run reached this function; may be given more than once. "
            "Before Python 3.12 the run is slower for it.",
        ),
    ] = None,
    device: DeviceOption = DeviceChoice.AUTO,
    variant: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="Variant to judge; may be given more than once.", show_default="the last, which is the candidate"
        ),
    ] = None,
    steps: StepsOption = None,
    warmup: WarmupOption = None,
    step_range: StepRangeOption = None,
    skip_steps: SkipStepsOption = None,
    for_steps: ForStepsOption = None,
    seconds: SecondsOption = None,
    signal: SignalOption = None,
    output: OutputOption = None,
    form: FormatOption = None,
    options: Given | None = None,
) -> None:
    """Run a target, or take a saved run, and judge it by policy, budgets and baseline.

    Exit codes: 0 clean, 1 over policy, 2 usage, 3 could not measure. A scenario's candidate is judged: of gdn-prefill
    that is precomputed, since naive is there to be bad.

    A scenario has options of its own: `syncwatch list NAME` and `syncwatch gate NAME --help` show them.

    A trace of nsys or torch.profiler is judged as it is, every process of it.

    Examples: syncwatch gate gdn-prefill; syncwatch gate train.py -- --epochs 1; syncwatch gate run.json; syncwatch gate
    profile.sqlite --step-range "decode *".
    """
    require_writable(output)
    outputs = formats(form)
    settings = read_settings(Path.cwd(), config)
    policy = adjusted(
        settings.policy, tuple(variant or ()), max_syncs=max_syncs, max_gain_us=max_gain_us, strict=strict
    )
    path, known = baseline_for(settings, baseline, updating=update)
    words = target_words(target, arguments, module)
    require_files_apart(
        outputs,
        output,
        the_target_itself=target_file(words, module),
        the_policy=settings.config,
        the_baseline=path,
    )
    reached = ReachedFunctions((*settings.require, *(require or ())))
    request = Request(
        words=words,
        module=module,
        device=device,
        variants=tuple(variant or ()),
        steps=steps,
        warmup=warmup,
        options=options or {},
        output=output.absolute() if output is not None else None,
        window=window_request(skip_steps, for_steps, seconds, signal),
    )

    ran_here = _saved(request) is None

    def finish(run: Run) -> int:
        announce_analysis(run.session)
        case = case_of(analysed(run.session), settings, policy, reached.missing(), ran_here=ran_here)
        found = judged(case, known, path, update=update)
        if found.changes is not None:
            err().write("".join(f"{line}\n" for line in sentences(found.changes, path, case.report)))
        settle()
        show_and_keep(outputs, case.analysis, request.output, found.verdict, out())
        if run.message is not None:
            print_error(run.message)
        elif found.verdict.outcome is not Outcome.CLEAN:
            print_error(verdict_sentence(case.report, found.verdict))
        return run.exit_code if run.exit_code in (EXIT_INTERRUPTED, EXIT_TERMINATED) else found.exit_code

    raise typer.Exit(finish(_run(request, reached, finish, step_range, only_report=only_report(outputs))))


def _run(
    request: Request, reached: ReachedFunctions, finish: Finish, step_range: str | None, *, only_report: bool
) -> Run:
    saved = _saved(request)
    if saved is None:
        if step_range is not None:
            raise UsageError("--step-range names the steps of a trace. In code, mark them with `syncwatch.step()`.")
        with reached:
            return record(request, finish, console, only_report=only_report, candidate_only=True)
    asked = replace(request, words=(), variants=(), output=None)
    if len(request.words) > 1 or asked != _NOTHING_ASKED:
        raise UsageError(f"{saved} is a saved run and is not run again. Leave out what says how to run it.")
    if reached.missing():
        raise NotMeasuredError(f"{saved} does not say which functions ran. Gate the target itself to --require them.")
    return Run(open_session(saved, step_range))


_NOTHING_ASKED = Request((), None, DeviceChoice.AUTO, (), None, None)


def _saved(request: Request) -> Path | None:
    """Return the saved run or trace that is meant, if one is."""
    if request.module is not None or is_scenario(request.words[0]):
        return None
    path = Path(request.words[0])
    return path if is_recording_file(path) else None
