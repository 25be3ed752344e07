"""Answers: how do recordings and their attributed waits become one report?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import median

from syncwatch.analyse.account import account_of
from syncwatch.analyse.compare import compare, price_overhead, step_time
from syncwatch.analyse.per_step import per_step
from syncwatch.analyse.price import prices
from syncwatch.analyse.sites import only_in_warmup, sites
from syncwatch.analyse.timeline import outside_of, split_early, timeline_of, warmup_of, window_of
from syncwatch.analyse.what_if import what_if
from syncwatch.analyse.worst_step import worst_step
from syncwatch.model.collector import collector_off
from syncwatch.model.compact import work_of
from syncwatch.model.events import SyncKind
from syncwatch.model.finding import NO_LINE, Attributed, Comparison, Report, Variant, recorder_of
from syncwatch.model.names import STEP_RANGE
from syncwatch.model.session import Coverage, Recorder, Recording, Session

_OWN_WORK = "GPU figures count the work of one process; what another did on the same GPU is no work here."


def analyse(session: Session, attributed: Sequence[Sequence[Attributed]]) -> Report:
    """Return the report of `session`, given the attributed waits of each of its recordings, in order."""
    recordings = session.recordings
    variants = tuple(
        analyse_recording(recording, found) for recording, found in zip(recordings, attributed, strict=True)
    )
    if session.recorder is not Recorder.SYNCWATCH and len(variants) > 1:
        variants = _beside_others(variants, recordings)
    return Report(
        target=session.target,
        device=session.device,
        environment=session.environment,
        parameters=session.parameters,
        variants=variants,
        comparison=_comparison(session),
        coverage=merge(recording.coverage for recording in recordings),
        complete=session.complete,
        missing=session.missing,
        recorder=session.recorder,
        unwatched=session.unwatched,
        notes=session.notes,
    )


def _beside_others(variants: Sequence[Variant], recordings: Sequence[Recording]) -> tuple[Variant, ...]:
    """Return `variants` with a note where another process may have kept the same GPU busy."""
    gpus = [{gpu for gpu, *_ in work_of(recording.kernels or ())} for recording in recordings]
    users = Counter(gpu for used in gpus for gpu in used)
    return tuple(
        replace(variant, notes=(*variant.notes, _OWN_WORK)) if any(users[gpu] > 1 for gpu in used) else variant
        for variant, used in zip(variants, gpus, strict=True)
    )


def _comparison(session: Session) -> Comparison | None:
    """Return the last variant against the first; None for a single one, and for the processes of a trace."""
    if len(session.recordings) < 2 or session.recorder is not Recorder.SYNCWATCH:
        return None
    return compare(session.recordings[0], session.recordings[-1], session.outputs_equal)


def own_figures(recording: Recording) -> dict[str, float | None]:
    """Return the median over the rounds of each figure that the scenario gave of itself."""
    names = dict.fromkeys(name for figures in recording.figures for name in figures)
    taken = {name: [figures[name] for figures in recording.figures if figures.get(name) is not None] for name in names}
    return {name: median(float(each or 0) for each in values) if values else None for name, values in taken.items()}


def merge(coverages: Iterable[Coverage]) -> Coverage:
    """Return what all recordings together watched; a count that one of them lacks is unknown for the whole."""
    known = list(coverages)
    seen = [coverage.seen for coverage in known]
    counts = [count for count in seen if count is not None]
    return Coverage(
        sensors=tuple(dict.fromkeys(name for coverage in known for name in coverage.sensors)),
        blind_to=tuple(dict.fromkeys(phrase for coverage in known for phrase in coverage.blind_to)),
        seen=sum(counts) if known and len(counts) == len(known) else None,
        attributed=sum(coverage.attributed for coverage in known),
    )


@collector_off()
def analyse_recording(recording: Recording, found: Sequence[Attributed]) -> Variant:
    """Return what one recording shows, given its attributed waits."""
    window, warmup = window_of(recording), warmup_of(recording)
    outside = outside_of(recording)
    early, _ = split_early((item.sync for item in found), window)
    lineless = sum(
        window.counts(item.sync.step) and item.finding.file == NO_LINE
        for item in found
        if item.sync.kind is not SyncKind.ALLOCATION
    )
    timeline = timeline_of(recording)
    costs = prices(recording, timeline)
    account = account_of(found, recording, window, costs, timeline)
    figures = per_step(found, recording, window, costs, account)
    measured = sites(found, recording, window, costs, figures.gpu_span_us)
    notes = [*recording.notes, *not_recorded(recording)]
    if recording.used_gpu is False:
        notes.append("Nothing ran on the GPU. Look whether the target reaches its work there, on a CUDA device.")
    if account is not None and account.gpus > 1:
        notes.append(f"GPU figures are summed over {account.gpus} GPUs.")
    if lineless and recording.frames:
        notes.append(f"{_counted(lineless)} {'has' if lineless == 1 else 'have'} no Python line outside torch.")
    return Variant(
        name=recording.variant,
        steps=window.steps,
        per_step=figures,
        step_ms=step_time(recording),
        sites=measured,
        warmup_syncs=early,
        warmup_sites=only_in_warmup(sites(found, recording, warmup, costs, None), measured) if warmup.steps else (),
        price_overhead=price_overhead(recording),
        figures=own_figures(recording),
        what_if=what_if(recording),
        pacing_waits=sum(sync.pacing and window.counts(sync.step) for sync in recording.syncs),
        coverage=recording.coverage,
        notes=tuple(notes),
        used_gpu=recording.used_gpu,
        outside_sites=() if outside is None else sites(found, recording, outside, costs, None),
        worst_step=worst_step(found, recording, window, costs, figures),
        ranges=_range_names(recording),
    )


def _range_names(recording: Recording) -> tuple[str, ...]:
    step, names = f"{STEP_RANGE} ", dict.fromkeys(each.name for each in recording.ranges)
    first = next((name for name in names if name.startswith(step)), None)
    return tuple(name for name in names if name == first or not name.startswith(step))


def not_recorded(recording: Recording) -> Iterator[str]:
    """Yield what another program's trace lacks, where it lacks work; the coverage says whether it has the calls."""
    recorder = recorder_of(recording.coverage)
    work = (("kernels", recording.kernels), ("copies", recording.copies))
    lacking = [f"no {name}" for name, events in work if events is None]
    if lacking and recorder is not Recorder.SYNCWATCH:
        yield f"{recorder.value} recorded {' and '.join(lacking)}: figures that need them are not measured."


def _counted(syncs: int) -> str:
    return f"{syncs} synchronization" if syncs == 1 else f"{syncs} synchronizations"
