"""Answers: how is a session held against what a project decided? `syncwatch gate` and tests that judge share it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from syncwatch.attribute.causes import CAUSES
from syncwatch.baseline_paths import from_project
from syncwatch.config import Settings
from syncwatch.errors import UsageError
from syncwatch.judge.baseline_file import Changes, read_baseline, update_baseline
from syncwatch.judge.comments import allows_of
from syncwatch.judge.gate import baseline_of, judge
from syncwatch.judge.rules import Files
from syncwatch.model.finding import Report
from syncwatch.model.session import Session
from syncwatch.model.verdict import Allow, KnownSite, Level, Policy, Verdict
from syncwatch.pipeline import report_of
from syncwatch.sources import changed_since, project_files, reader, user_files


@dataclass(frozen=True, slots=True)
class Case:
    """A session with everything that speaks for or against it."""

    report: Report
    policy: Policy
    comments: tuple[Allow, ...]
    """The allow comments in the source."""
    settings: Settings
    unreached: tuple[str, ...] = ()
    """Functions that had to run and did not."""
    files: Files | None = None
    """Those of the run; None where they are not known."""

    def verdict(self, baseline: Sequence[KnownSite] | None) -> Verdict:
        """Return the verdict under `baseline`; None where there is none."""
        return judge(
            self.report,
            self.policy,
            comments=self.comments,
            baseline=baseline,
            unreached=self.unreached,
            files=self.files,
            today=date.today(),
        )

    def accept(self, verdict: Verdict, path: Path) -> Changes:
        """Write every site that is now disallowed to the baseline at `path`.

        Raises:
            UsageError: if the file there is no baseline, or cannot be written.
        """
        entries = baseline_of(self.report, self.policy, self.comments, date.today())
        return update_baseline(
            path, self.report.target, verdict.variants, entries, lambda file: _read(file, self.settings)
        )


def case_of(
    session: Session, settings: Settings, policy: Policy, unreached: Sequence[str] = (), *, ran_here: bool = False
) -> Case:
    """Return `session` with its report and the reasons that the source gives.

    Args:
        session: what was recorded.
        settings: what the project decided.
        policy: what is asked of this run.
        unreached: functions that had to run and did not.
        ran_here: whether it ran in this process, so that it is known which files took part.

    Raises:
        UsageError: if an allow comment is malformed, with its place.
    """
    report = report_of(session)
    files, folders = user_files(session, settings.home), [settings.home, settings.start, settings.root]
    comments = allows_of(report.places, files, reader(folders), CAUSES)
    took_part = Files(files, _elsewhere(policy, settings.root)) if ran_here else None
    changed = {each.file for each in comments if changed_since(each.file, folders, _BEGAN_NS)} if ran_here else set()
    if changed:
        comments = tuple(each for each in comments if each.file not in changed)
        said = (_changed(file) for file in sorted(changed))
        report = report_of(replace(session, unwatched=(*session.unwatched, *said)))
    return Case(report, policy, comments, settings, tuple(unreached), took_part)


_BEGAN_NS = time.time_ns()
"""When this was imported: before the code of the user's ran, where it runs in this process."""


def _changed(file: str) -> str:
    return (
        f"{file} was changed while it ran, so that its allow comments may not be those it ran with, and count for "
        "nothing. Leave the file as it is, then watch it again."
    )


def _elsewhere(policy: Policy, root: Path) -> tuple[str, ...]:
    """Return the files of the project, where a rule could mean one that this target does not run."""
    return project_files(root) if any(rule.level is not Level.DISALLOW for rule in policy.paths) else ()


def baseline_for(
    settings: Settings, given: Path | None, *, updating: bool
) -> tuple[Path, tuple[KnownSite, ...] | None]:
    """Return where the baseline is, and what it knows; None where there is none yet.

    Raises:
        UsageError: if one was named and is not there, or is malformed.
    """
    path = settings.start / given if given is not None else settings.baseline
    if path.exists() or ((given is not None or settings.baseline_named) and not updating):
        return path, _read(path, settings)
    if not path.parent.is_dir():
        raise UsageError(f"Cannot write the baseline {path}: the folder {path.parent} does not exist. Make it first.")
    return path, None


def _read(path: Path, settings: Settings) -> tuple[KnownSite, ...]:
    return from_project(read_baseline(path), settings.home, settings.start)
