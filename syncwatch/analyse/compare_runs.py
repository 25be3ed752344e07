"""What changed between two runs: variants are paired, then their lines and their steps are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from syncwatch.analyse.compare_lines import KeyOf, line_changes
from syncwatch.analyse.step_times import compare_steps
from syncwatch.errors import NotMeasuredError, UsageError
from syncwatch.model.analysis import Analysis
from syncwatch.model.report import UNKNOWN, RecordingSummary, Report
from syncwatch.model.run_comparison import RunComparison, RunFacts, StepFigures, VariantComparison
from syncwatch.model.session import DeviceKind, RecordedBy, Recording, Session


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One of the two runs, with the name that its user gave it."""

    name: str
    analysis: Analysis

    @property
    def session(self) -> Session:
        """Return what was recorded."""
        return self.analysis.session

    @property
    def report(self) -> Report:
        """Return what was found in it."""
        return self.analysis.report

    def variant(self, name: str) -> tuple[Recording, RecordingSummary]:
        """Return the variant `name` as it was recorded and as it is reported.

        Raises:
            UsageError: if this run has no such variant.
            NotMeasuredError: if it has none of its steps.
        """
        for each in self.analysis.recordings:
            if each.summary.name == name:
                if not each.summary.steps:
                    raise NotMeasuredError(
                        f"{self.name} holds no measured step of {name}, so there is nothing to compare. Run it again, "
                        "to its end."
                    )
                return each.recording, each.summary
        offered = ", ".join(self.names)
        raise UsageError(f"{self.name} has no variant {name!r}. Choose from {offered}.")

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of its variants, in order."""
        return tuple(variant.name for variant in self.report.variants)


def compare_runs(
    before: ComparedRun, after: ComparedRun, pairs: Sequence[tuple[str, str]], key_of: KeyOf
) -> RunComparison:
    """Return what changed from `before` to `after`.

    Args:
        before: the earlier run.
        after: the later one.
        pairs: names of a variant of `before` and of one of `after`; empty for those that both have, or else the last
            of each.
        key_of: what a site is known by while the code around it moves.

    Raises:
        UsageError: if a run has no variant of a name.
        NotMeasuredError: if a run holds no measured step of a variant.
    """
    for run in (before, after):
        if not run.names:
            raise NotMeasuredError(f"{run.name} holds no variant, so there is nothing to compare. Run it again.")
    chosen = tuple(pairs) or _paired(before, after)
    variants = tuple(_variant(before, after, pair, key_of) for pair in chosen)
    return RunComparison(
        before=_facts(before),
        after=_facts(after),
        variants=variants,
        notes=(
            *_notes(before, after),
            *(() if pairs else _left_out(before, after, chosen)),
            *_how_far(before, variants),
        ),
    )


def _paired(before: ComparedRun, after: ComparedRun) -> tuple[tuple[str, str], ...]:
    shared = tuple((name, name) for name in before.names if name in after.names)
    return shared or ((before.names[-1], after.names[-1]),)


def _variant(before: ComparedRun, after: ComparedRun, pair: tuple[str, str], key_of: KeyOf) -> VariantComparison:
    (old_recording, old), (new_recording, new) = before.variant(pair[0]), after.variant(pair[1])
    return VariantComparison(
        before=StepFigures(old.name, old.steps, old.per_step, old.step_ms, old.replay),
        after=StepFigures(new.name, new.steps, new.per_step, new.step_ms, new.replay),
        comparison=compare_steps(old_recording, new_recording, None, interleaved=False),
        lines=line_changes(
            old.sites,
            new.sites,
            key_of,
            same_clock=before.session.device is after.session.device,
            modelled=before.session.device is DeviceKind.VIRTUAL,
            step_us=max(_replayed_us(old), _replayed_us(new)),
        ),
    )


def _replayed_us(known: RecordingSummary) -> float:
    return 0.0 if known.replay is None else known.replay.recorded_us or 0.0


def _facts(run: ComparedRun) -> RunFacts:
    known = run.session
    return RunFacts(run.name, known.target, known.device, known.environment, known.parameters, known.complete)


def _notes(before: ComparedRun, after: ComparedRun) -> Iterator[str]:
    old, new = before.session, after.session
    for run in (before, after):
        if not run.session.complete:
            yield f"{run.name} ended early, so that its figures are partial."
    if old.device is not new.device:
        modelled = before if old.device is DeviceKind.VIRTUAL else after
        yield f"{modelled.name} is modelled and the other was measured: their times are not compared."
    for run in (before, after):
        if run.session.recorder is not RecordedBy.SYNCWATCH:
            timed = any(variant.step_ms is not None for variant in run.report.variants)
            times = "; its step times were taken meanwhile" if timed else ""
            yield f"{run.name} was recorded by {run.session.recorder.value}{times}."
    facts: list[tuple[str, object, object]] = []
    if old.recorder is new.recorder is RecordedBy.SYNCWATCH:
        # The target of a trace is its file, which has been named.
        facts.append(("target", old.target, new.target))
    facts += [(name, _stated(old, field), _stated(new, field)) for name, field in _ENVIRONMENT.items()]
    olds, news = old.parameters or {}, new.parameters or {}
    facts += [(name, olds.get(name), news.get(name)) for name in dict.fromkeys((*olds, *news))]
    for name, was, now in facts:
        if was != now and UNKNOWN not in (was, now):
            yield f"The runs differ in {name}: {_word(was)} before; {_word(now)} after."
    watched = [", ".join(sorted(run.report.coverage.sensors)) or "no sensor" for run in (before, after)]
    if watched[0] != watched[1]:
        yield (
            f"{before.name} was watched by {watched[0]}, {after.name} by {watched[1]}: a line may be gone or new only "
            "because another sensor looked."
        )


_ENVIRONMENT = {
    "GPU": "gpu",
    "torch": "torch",
    "triton": "triton",
    "driver": "driver",
    "Python": "python",
    "syncwatch": "syncwatch",
}
"""What a figure depends on, by the name that a reader knows it by."""


def _stated(session: Session, field: str) -> object:
    """Return a fact of the environment; a trace says nothing of most, where a run of ours says that there is none."""
    value = getattr(session.environment, field)
    return UNKNOWN if value is None and session.recorder is not RecordedBy.SYNCWATCH else value


def _word(value: object) -> str:
    return "none" if value is None else str(value)


def _left_out(before: ComparedRun, after: ComparedRun, chosen: Sequence[tuple[str, str]]) -> Iterator[str]:
    for place, run in enumerate((before, after)):
        taken = {pair[place] for pair in chosen}
        for name in run.names:
            if name not in taken:
                yield f"The variant {name} of {run.name} is not compared."


def _how_far(before: ComparedRun, variants: Sequence[VariantComparison]) -> Iterator[str]:
    if before.session.device is DeviceKind.CUDA and any(each.comparison.step_time_ratio for each in variants):
        yield (
            "The two runs were not interleaved: the intervals hold the noise within each run, and not what changed "
            "between them, such as clocks or other work on the machine."
        )
