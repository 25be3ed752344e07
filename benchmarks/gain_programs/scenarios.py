"""The scenarios as lines of the table: the gain that is said of all implicit waits of `naive`, beside `precomputed`.

`kernel-warmup` is no line of it: its step is a process that compiles and benchmarks, and `precomputed` compiles less,
so that its time does not say what the waits took.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from importlib import import_module

import msgspec

from benchmarks.gain_programs.measure import truth_of
from benchmarks.gain_programs.table import Row, Said, said_at
from syncwatch.bench.runner import ScenarioRun
from syncwatch.bench.scenario import Plan
from syncwatch.model.events import SyncKind
from syncwatch.model.report import NO_LINE, RecordingSummary, Site
from syncwatch.model.session import DeviceKind, Line, Recording, Session
from syncwatch.pipeline import analysed_recording, report_of
from syncwatch.sense.base import WatchedDevice

FAMILY = "scenario"
_CUDA_STEPS, _WARMUP = 10, 5

SCENARIOS: dict[str, tuple[str, dict[str, str]]] = {
    "gdn-prefill": ("gdn-prefill", {"preset": "qwen3.5-2b", "regime": "balanced"}),
    "gdn-prefill-host-bound": ("gdn-prefill", {"preset": "qwen3.5-2b", "regime": "host-bound"}),
    "spec-decode": ("spec-decode", {"preset": "qwen3.5-2b"}),
    "seq-lens": ("seq-lens", {"preset": "qwen3.5-2b"}),
}
"""Name of the line: the scenario, and its options on a GPU; on the virtual device it has its own defaults."""


def scenario_names(*, virtual: bool) -> tuple[str, ...]:
    """Return the lines that run without being asked for; on the virtual device each scenario once."""
    return tuple(name for name, (scenario, _) in SCENARIOS.items() if not virtual or name == scenario)


def run_scenario(device: WatchedDevice, name: str, rounds: int, steps: int | None = None) -> tuple[Row, Session]:
    """Run one scenario and return its line, and what was recorded.

    Its variants and the replay of its reads take turns in the same rounds.
    """
    scenario_name, typed = SCENARIOS[name]
    virtual = device.kind is DeviceKind.VIRTUAL
    scenario = import_module(f"syncwatch_scenarios.{scenario_name.replace('-', '_')}").SCENARIO
    options = scenario.read({} if virtual else typed, virtual=virtual)
    plan = Plan(
        variants=("naive", "precomputed"),
        steps=steps or (scenario.steps.virtual if virtual else min(_CUDA_STEPS, scenario.steps.cuda)),
        warmup=scenario.warmup.virtual if virtual else min(_WARMUP, scenario.warmup.cuda),
        rounds=rounds,
        lines_of=_implicit_lines,
    )
    run = ScenarioRun(scenario, options, device, plan, _silent)
    run.run()
    session = run.session()
    naive, precomputed = session.recordings
    with_us, without_us = _means(naive.rounds_ns), _means(precomputed.rounds_ns)
    truth, said = truth_of(list(zip(with_us, without_us, strict=False))), _said(report_of(session).variants[0])
    what_if_us = _what_if(naive, with_us)
    return Row.of(name, FAMILY, "syncwatch", truth, said, plan.steps, what_if_us=what_if_us), session


def _said(naive: RecordingSummary) -> Said:
    """Return what is said of all implicit waits, less the allocator's calls, which `precomputed` makes as well."""
    said = said_at(naive, [site for site in naive.sites if _is_implicit(site)], together=True)
    calls = [site.gain_us or 0.0 for site in naive.sites if site.kind is SyncKind.ALLOCATION]
    return msgspec.structs.replace(said, gain_us=None if said.gain_us is None else said.gain_us - sum(calls))


def _implicit_lines(recording: Recording) -> tuple[Line, ...]:
    sites = analysed_recording(recording).summary.sites
    found = (Line(site.file, site.line) for site in sites if _is_implicit(site) and site.file != NO_LINE)
    return tuple(dict.fromkeys(found))


def _is_implicit(site: Site) -> bool:
    return not site.explicit and site.kind is not SyncKind.ALLOCATION


def _means(rounds_ns: Sequence[Sequence[int]]) -> list[float]:
    """Return the microseconds a step of each round: a gain is that of the mean step, and steps differ."""
    return [statistics.mean(times) / 1e3 for times in rounds_ns]


def _what_if(naive: Recording, with_us: list[float]) -> float | None:
    """Return what the replay of the most lines gained; None where none was possible."""
    possible = [replay for replay in naive.replays if replay.rounds_ns]
    if not possible:
        return None
    most = max(possible, key=lambda replay: len(replay.lines))
    return statistics.median(with_us) - statistics.median(_means(most.rounds_ns))


def _silent(_phase: str, _done: int, _total: int) -> None:
    """Show no progress."""
