"""The sentence of the design, as code: sense -> attribute -> analyse -> judge -> report.

Everything after `sense` works from a session alone, recorded now, saved before, or read from another program's trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import partial
from typing import TYPE_CHECKING

from syncwatch.analyse.build import analyse_processes, analyse_recording, analyse_variants
from syncwatch.attribute.causes import CAUSES
from syncwatch.attribute.causes.base import rule_help
from syncwatch.attribute.sites import attribute
from syncwatch.judge.baseline import fingerprint_of
from syncwatch.judge.gate import judge
from syncwatch.judge.policy import RunFiles
from syncwatch.model.analysis import AnalysedRecording, Analysis
from syncwatch.model.report import Process, RecordingSummary, Report, Variant
from syncwatch.model.session import RecordedBy, Recording, Session
from syncwatch.model.verdict import Allow, KnownSite, Policy, Verdict
from syncwatch.model.window import WindowRequest

if TYPE_CHECKING:
    from syncwatch.report.formats import Format, Screen
    from syncwatch.sense.watched_block import WatchedBlock


def sense(device: str, target: str, *, prices: bool = True, window: WindowRequest | None = None) -> WatchedBlock:
    """Return a block that records what runs in it, or a window of that, on a `device` that is opened on entry."""
    # Imports torch.
    from syncwatch.sense.watched_block import WatchedBlock
    from syncwatch.sense.windowed_block import WindowedBlock

    if window is not None:
        return WindowedBlock(device, target=target, prices=prices, window=window)
    return WatchedBlock(device, target=target, prices=prices)


def analysed(session: Session) -> Analysis:
    """Return what `session` shows: each wait with its line, its cause and its price, and what they add up to."""
    if session.recorder is RecordedBy.SYNCWATCH:
        return analyse_variants(session, [analysed_recording(each, Variant) for each in session.recordings])
    return analyse_processes(session, [analysed_recording(each, Process) for each in session.recordings])


def analysed_recording(recording: Recording, kind: type[RecordingSummary] = Variant) -> AnalysedRecording:
    """Return what one recording shows: waits are attributed and priced here and nowhere else."""
    return analyse_recording(recording, attribute(recording), kind)


def report_of(session: Session) -> Report:
    """Return the report of `session`, for who needs nothing else of it."""
    return analysed(session).report


def judge_of(
    report: Report,
    policy: Policy,
    *,
    comments: Sequence[Allow] = (),
    baseline: Sequence[KnownSite] | None = None,
    unreached: Sequence[str] = (),
    files: RunFiles | None = None,
) -> Verdict:
    """Return whether `report` may pass today; the arguments are those of `judge`."""
    today = date.today()
    return judge(report, policy, comments=comments, baseline=baseline, unreached=unreached, files=files, today=today)


def rendered(
    form: Format,
    report: Report,
    verdict: Verdict | None = None,
    screen: Screen | None = None,
    analysis: Analysis | None = None,
) -> str:
    """Return `report`, or the verdict on it, as text; the arguments are those of `render`."""
    # Imports rich and jinja2, which a watched program does without.
    from syncwatch.report.formats import Reference, render

    return render(form, report, verdict, screen, analysis, Reference(partial(rule_help, CAUSES), fingerprint_of))
