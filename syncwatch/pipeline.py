"""Answers: how does a recording become a report, and a report a verdict? The sentence of the design, as code.

sense -> attribute -> analyse -> judge -> report: `sense` made the session, the rest works from it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from syncwatch.analyse.build import analyse, analyse_recording
from syncwatch.attribute.sites import attribute
from syncwatch.judge.gate import judge
from syncwatch.model.codec import write_json
from syncwatch.model.events import SyncKind
from syncwatch.model.finding import NO_LINE, Report
from syncwatch.model.session import Line, Recording, Session
from syncwatch.model.verdict import Allow, KnownSite, Policy, Verdict


def report_of(session: Session) -> Report:
    """Return what `session` shows: each wait with its line and cause, counted and priced."""
    return analyse(session, [attribute(recording) for recording in session.recordings])


def judge_of(
    report: Report,
    policy: Policy,
    *,
    comments: Sequence[Allow] = (),
    baseline: Sequence[KnownSite] | None = None,
    unreached: Sequence[str] = (),
) -> Verdict:
    """Return whether `report` may pass today; the arguments are those of `judge`."""
    return judge(report, policy, comments=comments, baseline=baseline, unreached=unreached, today=date.today())


def waiting_lines(recording: Recording) -> tuple[Line, ...]:
    """Return the lines at which the measured steps of `recording` wait, the worst first."""
    variant = analyse_recording(recording, attribute(recording))
    waits = (site for site in variant.sites if site.kind is not SyncKind.ALLOCATION and site.file != NO_LINE)
    return tuple(dict.fromkeys(Line(site.file, site.line) for site in waits))


def write_run(session: Session, path: Path | str) -> None:
    """Write the run file: the JSON report, with the recording it came from under `session`.

    One file serves `jq` and every later command, since any report can be made again from the recording.

    Raises:
        OSError: if the folder cannot be written.
    """
    document: dict[str, Any] = {**msgspec.to_builtins(report_of(session)), "session": session}
    write_json(document, Path(path))
