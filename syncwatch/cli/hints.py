"""What a user can do next: after a run, one sentence for each thing that would help."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from syncwatch.model.analysis import Analysis
from syncwatch.model.events import SyncKind


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
