"""Hold what was found against what a project decided; `syncwatch gate` and tests that judge share it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from typing_extensions import assert_never

from syncwatch.app.project.config import Settings
from syncwatch.app.project.sources import changed_since, from_project, project_files, reader, user_files
from syncwatch.attribute.causes import CAUSES
from syncwatch.errors import EXIT_CLEAN, EXIT_NOT_MEASURED, EXIT_OVER_POLICY, UsageError
from syncwatch.judge.allows import allows_of
from syncwatch.judge.baseline import variant_scope
from syncwatch.judge.baseline_file import Changes, read_baseline, update_baseline
from syncwatch.judge.gate import baseline_of
from syncwatch.judge.policy import RunFiles
from syncwatch.model.analysis import Analysis
from syncwatch.model.report import Report
from syncwatch.model.verdict import Allow, KnownSite, Level, Outcome, Policy, Verdict
from syncwatch.pipeline import judge_of


@dataclass(frozen=True, slots=True)
class GateCase:
    """A session with everything that speaks for or against it."""

    analysis: Analysis
    policy: Policy
    comments: tuple[Allow, ...]
    """The allow comments in the source."""
    settings: Settings
    unreached: tuple[str, ...] = ()
    """Functions that had to run and did not."""
    files: RunFiles | None = None
    """Those of the run; None where they are not known."""

    @property
    def report(self) -> Report:
        """Return what was found."""
        return self.analysis.report

    def verdict(self, baseline: Sequence[KnownSite] | None) -> Verdict:
        """Return the verdict under `baseline`; None where there is none."""
        return judge_of(
            self.report,
            self.policy,
            comments=self.comments,
            baseline=baseline,
            unreached=self.unreached,
            files=self.files,
        )

    @property
    def entries(self) -> tuple[KnownSite, ...]:
        """The entries of a baseline under which every site that is now disallowed would be known."""
        return baseline_of(self.report, self.policy, self.comments, date.today())

    def accept(self, path: Path, variants: Sequence[str]) -> Changes:
        """Write every site of `variants` that is now disallowed to the baseline at `path`.

        Raises:
            UsageError: if the file there is no baseline, or cannot be written.
        """
        scopes = [variant_scope(each) for each in self.report.variants if each.name in variants]
        return update_baseline(path, self.report.target, scopes, self.entries, lambda file: _read(file, self.settings))


@dataclass(frozen=True, slots=True)
class GateResult:
    """A case and what is said of it."""

    case: GateCase
    verdict: Verdict
    changes: Changes | None = None
    """What an update did to the baseline; None where it was not written."""

    @property
    def exit_code(self) -> int:
        """Return what a process that only judged ends with."""
        outcome = self.verdict.outcome
        if outcome is Outcome.CLEAN:
            return EXIT_CLEAN
        if outcome is Outcome.OVER:
            return EXIT_OVER_POLICY
        if outcome is Outcome.UNMEASURED:
            return EXIT_NOT_MEASURED
        assert_never(outcome)


def judged(case: GateCase, known: Sequence[KnownSite] | None, path: Path, *, update: bool) -> GateResult:
    """Return the verdict on `case` under the baseline at `path`, which is written first where that was asked.

    What could not be measured is not written.

    Args:
        case: what was found, and what speaks for and against it.
        known: what the baseline knows; None where there is none.
        path: where it is, or would be.
        update: whether to write it.

    Raises:
        UsageError: if it is malformed, or cannot be written.
    """
    verdict = case.verdict(known)
    if not update or verdict.outcome is Outcome.UNMEASURED:
        return GateResult(case, verdict)
    changes = case.accept(path, verdict.variants)
    return GateResult(case, case.verdict(_read(path, case.settings)), changes)


def adjusted(
    policy: Policy, variants: Sequence[str], *, max_syncs: float | None, max_gain_us: float | None, strict: bool
) -> Policy:
    """Return `policy` with what one command says beside it."""
    given = {"syncs": max_syncs, "gain_us": max_gain_us}
    budgets = replace(policy.budgets, **{name: limit for name, limit in given.items() if limit is not None})
    return replace(policy, budgets=budgets, variants=tuple(variants), strict=strict or policy.strict)


def case_of(
    analysis: Analysis,
    settings: Settings,
    policy: Policy,
    unreached: Sequence[str] = (),
    *,
    ran_here: bool = False,
    files: Sequence[str] | None = None,
    folders: Sequence[Path] = (),
) -> GateCase:
    """Return `analysis` with the reasons that the source gives.

    Args:
        analysis: what was found.
        settings: what the project decided.
        policy: what is asked of this run.
        unreached: functions that had to run and did not.
        ran_here: whether it ran in this process, so that it is known which files took part.
        files: those that are looked through for allow comments; None for every one of the user's that took part.
        folders: where files are looked for, beside the folders of the project.

    Raises:
        UsageError: if an allow comment is malformed, with its place.
    """
    if files is None:
        files = user_files(analysis.session, settings.home)
    folders = [settings.home, *folders, settings.start, settings.root]
    comments = allows_of(analysis.report.places, files, reader(folders), CAUSES)
    took_part = RunFiles(files, _elsewhere(policy, settings.root)) if ran_here else None
    changed = {each.file for each in comments if changed_since(each.file, folders, _BEGAN_NS)} if ran_here else set()
    if changed:
        comments = tuple(each for each in comments if each.file not in changed)
        analysis = analysis.unwatched(_changed(file) for file in sorted(changed))
    return GateCase(analysis, policy, comments, settings, tuple(unreached), took_part)


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
