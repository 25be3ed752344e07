"""The command `syncwatch run`: watches a scenario or code of the user's, and reports."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Annotated, Optional

import typer

from syncwatch.app.outcome import RunOutcome
from syncwatch.app.report import show_and_keep
from syncwatch.app.run import Request, record, target_file, target_words
from syncwatch.bench.options import Given
from syncwatch.cli import console
from syncwatch.cli.options import (
    ArgumentsArgument,
    DeviceOption,
    FormatOption,
    ForStepsOption,
    ModuleOption,
    OutputOption,
    RoundsOption,
    SecondsOption,
    SignalOption,
    SkipStepsOption,
    StepsOption,
    TargetArgument,
    WarmupOption,
    formats,
    only_report,
    require_files_apart,
)
from syncwatch.cli.outputs import require_writable
from syncwatch.cli.screen import announce_analysis, print_error, print_hint
from syncwatch.cli.streams import out, settle
from syncwatch.model.analysis import Analysis
from syncwatch.model.events import SyncKind
from syncwatch.model.window import window_request
from syncwatch.pipeline import analysed
from syncwatch.report.formats import Format
from syncwatch.sense.choose_device import DeviceChoice


def hints(analysis: Analysis, words: tuple[str, ...], module: str | None) -> Iterator[str]:
    """Yield what to do after a run of one's own code.

    Args:
        analysis: what was recorded, and found in it.
        words: what was typed: the target and its arguments, or arguments alone where `module` is given.
        module: the module that was run, if it was one.
    """
    session, report = analysis.session, analysis.report
    if session.parameters is not None or not session.complete:
        return
    if not any(recording.steps for recording in session.recordings):
        yield "mark the steps with `with syncwatch.step():`; without them each figure is of the whole run."
    # What an allocator asks of the driver is over with the first steps.
    first = next((site for site in report.sites if site.kind is not SyncKind.ALLOCATION), None)
    if first is not None:
        target = f"-m {shlex.quote(module)}" if module is not None else shlex.quote(words[0])
        yield (
            f"`syncwatch explain {first.code}` says what to write instead; `syncwatch gate {target} "
            "--update-baseline` keeps what waits today, so that from then on only a new wait fails."
        )


def run(
    target: TargetArgument = None,
    arguments: ArgumentsArgument = None,
    module: ModuleOption = None,
    device: DeviceOption = DeviceChoice.AUTO,
    variant: Annotated[
        Optional[list[str]],  # noqa: UP045  # typer evaluates this on Python 3.10
        typer.Option(help="Only this variant of a scenario; may be given more than once.", show_default="all"),
    ] = None,
    steps: StepsOption = None,
    warmup: WarmupOption = None,
    rounds: RoundsOption = None,
    what_if: Annotated[
        bool, typer.Option("--what-if", help="Also time the steps with each host value replayed: the ceiling of a fix.")
    ] = False,
    prices: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option(
            "--prices/--no-prices",
            help="Exit 3 where idle times could not be measured; or leave times and kernels out.",
            show_default="taken where they can be",
        ),
    ] = None,
    skip_steps: SkipStepsOption = None,
    for_steps: ForStepsOption = None,
    seconds: SecondsOption = None,
    signal: SignalOption = None,
    output: OutputOption = None,
    form: FormatOption = None,
    options: Given | None = None,
) -> None:
    """Watch a scenario, or your own code, and say which lines make the CPU wait.

    A scenario has options of its own: `syncwatch list NAME` and `syncwatch run NAME --help` show them.

    Examples: syncwatch run gdn-prefill; syncwatch run train.py -- --epochs 1; syncwatch run -m pkg.mod.
    """
    require_writable(output)
    outputs = formats(form)
    words = target_words(target, arguments, module)
    require_files_apart(outputs, output, the_target_itself=target_file(words, module))
    request = Request(
        words=words,
        module=module,
        device=device,
        variants=tuple(variant or ()),
        steps=steps,
        warmup=warmup,
        rounds=rounds,
        options=options or {},
        what_if=what_if,
        prices=prices,
        # The target may leave this folder.
        output=output.absolute() if output is not None else None,
        window=window_request(skip_steps, for_steps, seconds, signal),
    )

    def finish(outcome: RunOutcome) -> int:
        announce_analysis(outcome.session)
        analysis = analysed(outcome.session)
        settle()
        show_and_keep(outputs, analysis, request.output, stdout=out())
        if any(each.form is Format.TERMINAL and each.path is None for each in outputs):
            for hint in hints(analysis, words, module):
                print_hint(hint)
        if outcome.message is not None:
            print_error(outcome.message)
        return outcome.exit_code

    raise typer.Exit(finish(record(request, finish, console, only_report=only_report(outputs))))
