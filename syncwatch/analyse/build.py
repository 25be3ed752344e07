"""Makes one report of recordings and their attributed waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, replace
from functools import partial
from statistics import median

from syncwatch.analyse.gains import Gains, gains_of
from syncwatch.analyse.per_step import account_of, per_step, worst_step
from syncwatch.analyse.picture import steps_without
from syncwatch.analyse.price import price
from syncwatch.analyse.sites import only_in_warmup, sites
from syncwatch.analyse.step_times import compare_steps, price_overhead, step_time, what_if
from syncwatch.analyse.timeline import Timeline, outside_of, split_early, timeline_of, warmup_of, window_of
from syncwatch.model.analysis import AnalysedRecording, AnalysedWait, Analysis, Finding
from syncwatch.model.compact import work_of
from syncwatch.model.events import STEP_RANGE, SyncKind, collector_off
from syncwatch.model.report import NO_LINE, RecordingSummary, Report, StepTimeComparison, recorder_of
from syncwatch.model.session import Coverage, Joins, RecordedBy, Recording, Session

_AS_RECORDED = (
    "Gains are those of the program as {recorder} slowed it down; of a run that syncwatch records, it takes off what "
    "watching costs."
)
_OWN_WORK = "GPU figures count the work of one process; what another did on the same GPU is no work here."


def analyse_variants(session: Session, analysed: Sequence[AnalysedRecording]) -> Analysis:
    """Return the analysis of a run from those of its variants, in order; the last is held against the first."""
    comparison = None
    if len(analysed) > 1:
        comparison = compare_steps(session.recordings[0], session.recordings[-1], session.outputs_equal)
    report = _report(session, analysed, comparison)
    return Analysis(session, tuple(analysed), report, partial(steps_without, analysed))


def analyse_processes(session: Session, analysed: Sequence[AnalysedRecording]) -> Analysis:
    """Return the analysis of a trace from those of its processes, in order; none is held against another."""
    noted = _note_shared_gpus(analysed)
    return Analysis(session, tuple(noted), _report(session, noted, None), partial(steps_without, noted))


def _report(session: Session, analysed: Sequence[AnalysedRecording], comparison: StepTimeComparison | None) -> Report:
    return Report(
        target=session.target,
        device=session.device,
        environment=session.environment,
        parameters=session.parameters,
        variants=tuple(each.summary for each in analysed),
        comparison=comparison,
        coverage=merge(recording.coverage for recording in session.recordings),
        complete=session.complete,
        missing=session.missing,
        recorder=session.recorder,
        unwatched=session.unwatched,
        notes=session.notes if session.window is None else (session.window.words(), *session.notes),
        window=session.window,
    )


def _note_shared_gpus(analysed: Sequence[AnalysedRecording]) -> Sequence[AnalysedRecording]:
    """Return `analysed` with a note where another process may have kept the same GPU busy."""
    gpus = [{gpu for gpu, *_ in work_of(each.recording.kernels or ())} for each in analysed]
    users = Counter(gpu for used in gpus for gpu in used)
    return [
        replace(each, summary=replace(each.summary, notes=(*each.summary.notes, _OWN_WORK)))
        if any(users[gpu] > 1 for gpu in used)
        else each
        for each, used in zip(analysed, gpus, strict=True)
    ]


def own_figures(recording: Recording) -> dict[str, float | None]:
    """Return the median over the rounds of each figure that the scenario gave of itself."""
    names = dict.fromkeys(name for figures in recording.figures for name in figures)
    taken = {name: [figures[name] for figures in recording.figures if figures.get(name) is not None] for name in names}
    return {name: median(float(each or 0) for each in values) if values else None for name, values in taken.items()}


def merge(coverages: Iterable[Coverage]) -> Coverage:
    """Return what all recordings together watched; a count that one of them lacks is unknown for the whole."""
    known = list(coverages)
    return Coverage(
        sensors=tuple(dict.fromkeys(name for coverage in known for name in coverage.sensors)),
        blind_to=tuple(dict.fromkeys(phrase for coverage in known for phrase in coverage.blind_to)),
        seen=_sum([coverage.seen for coverage in known]),
        attributed=sum(coverage.attributed for coverage in known),
        joins=_all_joins([coverage.joins for coverage in known]),
        warned=_sum([coverage.warned for coverage in known]),
        warned_unseen=_sum([coverage.warned_unseen for coverage in known]),
    )


def _all_joins(known: Sequence[Joins | None]) -> Joins | None:
    """Return what fits together in all recordings; None where one of them has no records."""
    found = [each for each in known if each is not None]
    if not found or len(found) < len(known):
        return None
    return Joins(*(sum(column) for column in zip(*map(astuple, found), strict=True)))


def _sum(counts: Sequence[int | None]) -> int | None:
    """Return the sum of `counts`; None where one is not known, or there is none."""
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


@collector_off()
def analyse_recording(
    recording: Recording, findings: Sequence[Finding | None], kind: type[RecordingSummary]
) -> AnalysedRecording:
    """Return what one recording shows.

    Args:
        recording: what was seen.
        findings: the line and the cause of each of its waits, in their order; None for the runner's own.
        kind: what it is a recording of: `Variant` or `Process`.
    """
    timeline = timeline_of(recording)
    prices = price(recording, timeline)
    waits = tuple(map(AnalysedWait, recording.syncs, findings, prices))
    return AnalysedRecording(recording, waits, _summary(recording, waits, timeline, kind))


def _summary(
    recording: Recording, waits: Sequence[AnalysedWait], timeline: Timeline, kind: type[RecordingSummary]
) -> RecordingSummary:
    window, warmup = window_of(recording), warmup_of(recording)
    outside = outside_of(recording)
    early, _ = split_early((wait.sync for wait in waits if wait.finding is not None), window)
    lineless = sum(
        wait.finding is not None and wait.finding.file == NO_LINE and window.counts(wait.sync.step)
        for wait in waits
        if wait.sync.kind is not SyncKind.ALLOCATION
    )
    account = account_of(waits, recording, window, timeline)
    gains = gains_of(waits, recording, window)
    figures = replace(per_step(waits, recording, window, account), gain_us=gains.together_us)
    measured = sites(waits, recording, window, figures.gpu_span_us, gains.by_site)
    notes = [*recording.notes, *not_recorded(recording)]
    notes += notes_of_gains(gains, recording, window.steps, timeline)
    if gains.by_site and recorder_of(recording.coverage) is not RecordedBy.SYNCWATCH:
        notes.append(_AS_RECORDED.format(recorder=recorder_of(recording.coverage).value))
    if recording.used_gpu is False:
        notes.append("Nothing ran on the GPU. Look whether the target reaches its work there, on a CUDA device.")
    if account is not None and account.gpus > 1:
        notes.append(f"GPU figures are summed over {account.gpus} GPUs.")
    if lineless and recording.frames:
        notes.append(f"{_counted(lineless)} {'has' if lineless == 1 else 'have'} no Python line outside torch.")
    return kind(
        name=recording.variant,
        steps=window.steps,
        per_step=figures,
        step_ms=step_time(recording),
        sites=measured,
        warmup_syncs=early,
        warmup_sites=only_in_warmup(sites(waits, recording, warmup, None), measured) if warmup.steps else (),
        price_overhead=price_overhead(recording),
        figures=own_figures(recording),
        what_if=what_if(recording),
        pacing_waits=sum(sync.pacing and window.counts(sync.step) for sync in recording.syncs),
        coverage=recording.coverage,
        notes=tuple(notes),
        used_gpu=recording.used_gpu,
        outside_sites=() if outside is None else sites(waits, recording, outside, None),
        worst_step=worst_step(waits, recording, window, figures),
        ranges=_range_names(recording),
        replay=gains.check,
    )


def _range_names(recording: Recording) -> tuple[str, ...]:
    step, names = f"{STEP_RANGE} ", dict.fromkeys(each.name for each in recording.ranges)
    first = next((name for name in names if name.startswith(step)), None)
    return tuple(name for name in names if name == first or not name.startswith(step))


def notes_of_gains(gains: Gains, recording: Recording, steps: int, timeline: Timeline) -> Iterator[str]:
    """Yield what a reader should know of how the gains came about."""
    if gains.check.unknown is not None or not (gains.by_site or gains.together_us is None):
        return
    if gains.check.steps < steps:
        yield (
            f"Gains are those of the first {gains.check.steps} of {steps} steps, since the recording is long; of a "
            "line that does not wait in them the gain is not known."
        )
    if recording.event_calls is None and len(timeline.streams) > 1:
        yield (
            "Work ran in several streams, and what one of them waited for was not recorded: for gains it is told from "
            "the times."
        )


def not_recorded(recording: Recording) -> Iterator[str]:
    """Yield what another program's trace lacks, where it lacks work; the coverage says whether it has the calls."""
    recorder = recorder_of(recording.coverage)
    work = (("kernels", recording.kernels), ("copies", recording.copies))
    lacking = [f"no {name}" for name, events in work if events is None]
    if lacking and recorder is not RecordedBy.SYNCWATCH:
        yield f"{recorder.value} recorded {' and '.join(lacking)}: figures that need them are not measured."


def _counted(syncs: int) -> str:
    return f"{syncs} synchronization" if syncs == 1 else f"{syncs} synchronizations"
