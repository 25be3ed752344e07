"""The scenarios as lines of the table: the gain that is said of all implicit waits of `naive`, beside `precomputed`.

`kernel-warmup` runs only where it is asked for by name: a step of it is a process that compiles for a minute, and
`precomputed` compiles less besides. It is not judged.
"""

from __future__ import annotations

import statistics
from importlib import import_module

from benchmarks.gain_programs.measure import truth_of
from benchmarks.gain_programs.table import Row, said_at
from syncwatch.bench.runner import ScenarioRun
from syncwatch.bench.scenario import Plan
from syncwatch.model.events import SyncKind
from syncwatch.model.report import NO_LINE, Site
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
ON_REQUEST: dict[str, tuple[str, dict[str, str]]] = {"kernel-warmup": ("kernel-warmup", {})}


def scenario_names(*, virtual: bool) -> tuple[str, ...]:
    """Return the lines that run without being asked for; on the virtual device each scenario once."""
    return tuple(name for name, (scenario, _) in SCENARIOS.items() if not virtual or name == scenario)


def run_scenario(device: WatchedDevice, name: str, rounds: int) -> tuple[Row, Session]:
    """Run one scenario and return its line, and what was recorded.

    Its variants and the replay of its reads take turns in the same rounds.
    """
    scenario_name, typed = (SCENARIOS | ON_REQUEST)[name]
    virtual = device.kind is DeviceKind.VIRTUAL
    scenario = import_module(f"syncwatch_scenarios.{scenario_name.replace('-', '_')}").SCENARIO
    options = scenario.read({} if virtual else typed, virtual=virtual)
    own = scenario.own_run is not None
    plan = Plan(
        variants=("naive", "precomputed"),
        steps=scenario.steps.virtual if virtual else min(_CUDA_STEPS, scenario.steps.cuda),
        warmup=scenario.warmup.virtual if virtual else min(_WARMUP, scenario.warmup.cuda),
        rounds=rounds,
        lines_of=None if own else _implicit_lines,
    )
    run = scenario.open_own_run(options, device, plan, _silent) or ScenarioRun(scenario, options, device, plan, _silent)
    run.run()
    session = run.session()
    naive, precomputed = session.recordings
    with_us, without_us = _round_medians(naive), _round_medians(precomputed)
    summary = report_of(session).variants[0]
    said = said_at(summary, [site for site in summary.sites if _is_implicit(site)], together=True)
    unjudged = "`precomputed` also compiles less" if own else ""
    row = Row.of(
        name,
        FAMILY,
        "syncwatch",
        truth_of(with_us, without_us),
        said,
        plan.steps,
        what_if_us=_what_if(naive, with_us),
        unjudged=unjudged,
    )
    return row, session


def _implicit_lines(recording: Recording) -> tuple[Line, ...]:
    sites = analysed_recording(recording).summary.sites
    found = (Line(site.file, site.line) for site in sites if _is_implicit(site) and site.file != NO_LINE)
    return tuple(dict.fromkeys(found))


def _is_implicit(site: Site) -> bool:
    return not site.explicit and site.kind is not SyncKind.ALLOCATION


def _round_medians(recording: Recording) -> list[float]:
    return [statistics.median(times) / 1e3 for times in recording.rounds_ns]


def _what_if(naive: Recording, with_us: list[float]) -> float | None:
    """Return what the replay of the most lines gained; None where none was possible."""
    possible = [replay for replay in naive.replays if replay.rounds_ns]
    if not possible:
        return None
    most = max(possible, key=lambda replay: len(replay.lines))
    replayed = [statistics.median(times) / 1e3 for times in most.rounds_ns]
    return statistics.median(with_us) - statistics.median(replayed)


def _silent(_phase: str, _done: int, _total: int) -> None:
    """Show no progress."""
