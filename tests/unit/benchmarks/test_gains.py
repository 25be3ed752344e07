"""The table of gains: every program waits where it says, no more once its flag is set, and the arithmetic holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from benchmarks import gains, readme_costs
from benchmarks.gain_programs import machine, scenarios, traces
from benchmarks.gain_programs.machine import CudaMachine, VirtualMachine
from benchmarks.gain_programs.measure import Truth, built, session_of, truth_of
from benchmarks.gain_programs.registry import Program, Step, every_program, marked_by
from benchmarks.gain_programs.scenarios import SCENARIOS
from benchmarks.gain_programs.table import Row, Said, markdown, removed_sites, said_of, summary_of
from benchmarks.readme_results import Results
from syncwatch.bench.scenario import Plan
from syncwatch.model.events import SyncKind
from syncwatch.model.report import RecordingSummary, Site
from syncwatch.model.session import DeviceKind, Line, RecordedBy, Replay, Session
from syncwatch.pipeline import report_of
from syncwatch.sense.base import WatchedDevice
from syncwatch.sense.choose_device import DeviceChoice, open_device
from syncwatch.sense.scopes.ranges import annotate, step
from tests.helpers.fakes import US, gdn_session

PROGRAMS = every_program()
SAID = Said(100.0, None, 700.0, 1, 1000.0, 1000.0, "")


@pytest.fixture
def device() -> Iterator[WatchedDevice]:
    opened = open_device(DeviceChoice.VIRTUAL)
    yield opened
    opened.close()


def recorded(program: Program, device: WatchedDevice, *, remove: bool) -> RecordingSummary:
    """Return the report of seven steps: some programs wait in every fifth or tenth alone."""
    with built(program, DeviceKind.VIRTUAL) as ready, device.watch(program.name) as sensed:
        for index in range(9):
            with step(warmup=index < 2):
                ready.step(index, remove)
        ready.settle()
    return report_of(session_of(program.name, device, sensed.recording)).variants[0]


def row(
    name: str = "a", *, true: float = 100.0, said: float | None = 100.0, step: float = 1000.0, ci: float = 1
) -> Row:
    truth = Truth(step, step - true, true, (true - ci, true + ci))
    return Row.of(name, "read", "syncwatch", truth, msgspec.structs.replace(SAID, gain_us=said), 40)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_waits_where_it_says_and_not_once_its_flag_is_set(name: str, device: WatchedDevice) -> None:
    program = PROGRAMS[name]
    waiting, removed = (recorded(program, device, remove=remove) for remove in (False, True))

    sites = removed_sites(waiting, program)
    # The GPU's own layers ask for memory again on a GPU alone.
    assert {site.function.rsplit(".", 1)[-1] for site in sites} == set(program.removes) - {"_layers"}
    assert not removed_sites(removed, program)
    # Nothing but the marked waits goes: the other lines wait as before, and no new one does.
    others = {(site.line, site.calls) for site in waiting.sites} - {(site.line, site.calls) for site in sites}
    assert {(site.line, site.calls) for site in removed.sites} == others
    if program.together:
        assert not any(site.kind is not SyncKind.ALLOCATION and not site.explicit for site in removed.sites)


def test_there_are_programs_of_every_kind_that_is_asked_for() -> None:
    assert len(PROGRAMS) >= 36
    assert len({program.family for program in PROGRAMS.values()}) == 13
    assert {scenario for scenario, _ in SCENARIOS.values()} == {"gdn-prefill", "spec-decode", "seq-lens"}
    docstrings = {
        program.build.func.__doc__ if hasattr(program.build, "func") else program.build.__doc__
        for program in PROGRAMS.values()
    }
    assert all(each is not None and each.startswith("Removed: ") and "Stays: " in each for each in docstrings)


@pytest.mark.usefixtures("device")
def test_the_machine_of_a_gpu_calibrates_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN layers that the host computes in no time
    for name in ("_WIDTH", "_HEAVY_ROWS", "_LIGHT_ROWS"):
        monkeypatch.setattr(machine, name, 16)
    gpu = CudaMachine()

    # WHEN work of ten layers is asked for
    modelled = VirtualMachine()
    begin = modelled.now_ns()
    gpu.gpu(10 * gpu.layer_us)
    launched_us = (modelled.now_ns() - begin) / 1e3

    # THEN two kernels a layer were launched
    assert gpu.layer_us > 0
    assert launched_us == pytest.approx(10 * gpu.layer_us, rel=0.2)
    assert gpu.numbers(1 << 20) == 1 << 20


def test_the_truth_is_the_median_of_what_each_round_gained_with_an_interval_over_rounds() -> None:
    truth = truth_of([(110.0, 100.0), (112.0, 101.0), (190.0, 99.0)])

    assert (truth.with_us, truth.without_us, truth.gain_us) == (112.0, 100.0, 11.0)
    assert truth.interval_us[0] <= 11.0 <= truth.interval_us[1]
    assert truth_of([(5.0, 3.0)]).interval_us == (2.0, 2.0)


@pytest.mark.parametrize(
    ("true", "said", "step", "within"),
    [
        (1000.0, 1099.0, 2000.0, True),  # 10 % of the gain
        (1000.0, 1101.0, 2000.0, False),
        (0.0, 20.0, 500.0, True),  # 20 us
        (0.0, -21.0, 500.0, False),
        (0.0, 50.0, 5000.0, True),  # 1 % of the step
        (0.0, None, 5000.0, False),
    ],
)
def test_a_gain_is_within_by_the_widest_of_three_limits(
    true: float, said: float | None, step: float, within: bool
) -> None:
    assert row(true=true, said=said, step=step).within is within


def test_a_gain_is_invented_where_there_is_none_and_over_5_percent_of_the_step_is_said() -> None:
    assert row(true=0.5, said=51.0).invented
    assert row(true=9.0, said=51.0).invented
    assert row(true=30.0, said=70.0, ci=31).invented
    assert not row(true=30.0, said=51.0, ci=31).invented
    assert not row(true=30.0, said=51.0).invented
    assert not row(true=0.5, said=49.0).invented
    assert not row(true=0.5, said=None).invented


def test_the_table_fails_under_95_percent_and_where_a_gain_is_invented() -> None:
    good = [row(str(number)) for number in range(19)]
    off = row("off", true=100, said=200)

    assert summary_of([*good, off]).true
    assert not summary_of([*good[:-1], off]).true
    assert not summary_of([*good, row("invented", true=0.0, said=51.0)]).true
    assert not summary_of([]).true
    assert not summary_of([*good[:18], row("unsaid", said=None)]).true


def test_the_summary_names_the_worst_by_its_own_limit() -> None:
    # 40 us are twice what is allowed of a small gain, 150 us are 1.5 times that of a large one.
    found = summary_of([row("small", true=0.0, said=40.0, step=1000.0), row("large", true=1000.0, said=1150.0)])

    assert found.worst == "small (syncwatch)"
    assert "0 of 2 within; worst small (syncwatch), +40 us" in found.words()


def test_a_line_that_is_not_judged_counts_for_nothing_and_says_so() -> None:
    truth = Truth(1000.0, 900.0, 100.0, (99.0, 101.0))
    unjudged = Row.of("a", "thread", "syncwatch", truth, SAID, 40, unjudged="threads")

    assert unjudged.within is None
    assert summary_of([unjudged]).judged == 0
    assert "not judged" in markdown([unjudged])


def test_markdown_marks_what_is_off_and_what_is_uncertain() -> None:
    lines = markdown([row("good"), row("off", said=200.0), row("unsure", ci=30), row("none", said=None)]).splitlines()

    assert [line.split(" | ")[-1] for line in lines[2:]] == ["yes |", "NO |", "yes |", "NO |"]
    assert [" ?" in line for line in lines[2:]] == [False, False, True, False]


def test_a_site_without_a_line_is_known_by_the_range_of_its_wait() -> None:
    site = replace(report_of(gdn_session()).variants[0].sites[0], function="", range="read_number")
    summary = replace(report_of(gdn_session()).variants[0], sites=(site,))

    assert removed_sites(summary, PROGRAMS["read-even"]) == (site,)
    assert not removed_sites(summary, PROGRAMS["log-even"])


def test_what_is_said_is_that_of_the_sites_or_of_all_together() -> None:
    found = report_of(gdn_session()).variants[0]

    def site(gain: float | None, interval: tuple[float, float] | None = None) -> Site:
        return replace(found.sites[0], function="read_number", gain_us=gain, gain_ci_us=interval, gpu_idle_us=5.0)

    def said(*sites: Site, together: bool = False) -> Said:
        per_step = replace(found.per_step, gain_us=50.0)
        program = replace(PROGRAMS["read-even"], together=together)
        return said_of(replace(found, sites=sites, per_step=per_step), program)

    assert (said(site(3.0, (2.0, 4.0))).gain_us, said(site(3.0, (2.0, 4.0))).interval_us) == (3.0, (2.0, 4.0))
    assert (said(site(3.0), site(4.0)).gain_us, said(site(3.0), site(4.0)).bubble_us) == (7.0, 10.0)
    assert said(site(3.0), site(None)).gain_us is None
    assert said(site(3.0), together=True).gain_us == 50.0
    assert said().gain_us is None and said().unknown


def test_each_wait_has_a_range_of_its_name_where_a_trace_is_taken(device: WatchedDevice) -> None:
    with built(PROGRAMS["read-even"], DeviceKind.VIRTUAL) as ready, device.watch("x") as sensed:
        ready.step(0, False)
        with marked_by(annotate):
            ready.step(0, False)
    assert sensed.recording is not None
    assert [each.name for each in sensed.recording.ranges] == ["read_number"]


def test_a_program_that_is_played_for_nsys_has_its_steps_inside_a_range_of_its_name(device: WatchedDevice) -> None:
    program = PROGRAMS["read-light"]
    with built(program, DeviceKind.VIRTUAL) as ready, device.watch("x") as sensed:
        traces.play(ready, 2)
    assert sensed.recording is not None
    names = [each.name for each in sensed.recording.ranges]
    assert sorted(names) == ["read-light", *["read_light_number"] * 2, "syncwatch.step 0", "syncwatch.step 1"]


def test_other_threads_of_a_program_end_with_it(device: WatchedDevice) -> None:
    ends: list[str] = []

    def build(of: machine.Machine) -> Step:
        of.ended.append(lambda: ends.append("ended"))
        of.settled.append(lambda: ends.append("settled"))
        return lambda _index, _remove: None

    with built(Program("x", "x", build, ()), DeviceKind.VIRTUAL) as ready:
        ready.loop(1, remove=False)
    assert ends == ["settled", "ended"]


def test_the_command_writes_each_row_keeps_recordings_and_exits_by_the_table(tmp_path: Path) -> None:
    # GIVEN one program, and one that fails
    output, save = tmp_path / "gains.json", tmp_path / "kept"
    words = [str(output), "--device", "virtual", "--only", "read/read-gpu-bound", "--steps", "6", "--save", str(save)]

    # WHEN
    ended = CliRunner().invoke(gains.app, ["run", *words])

    # THEN
    found = msgspec.json.decode(output.read_bytes(), type=gains.Results)
    assert [each.name for each in found.rows] == ["read-gpu-bound"]
    assert found.modelled and found.rows[0].steps == 6 and found.rows[0].sites == 1
    assert ended.exit_code == (0 if found.summary.true else 1), ended.output
    assert [path.name for path in save.iterdir()] == ["read-gpu-bound.json"]
    assert CliRunner().invoke(gains.app, ["show", str(output)]).exit_code == ended.exit_code


def test_a_program_that_raises_is_told_of_and_the_others_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_machine: machine.Machine) -> Step:
        raise ValueError("no such thing")

    monkeypatch.setitem(PROGRAMS, "read-even", replace(PROGRAMS["read-even"], build=fail))
    output = tmp_path / "gains.json"
    words = [str(output), "--device", "virtual", "--only", "read/read-[eg]*", "--steps", "6"]

    ended = CliRunner().invoke(gains.app, ["run", *words])

    found = msgspec.json.decode(output.read_bytes(), type=gains.Results)
    assert ended.exit_code == 1
    assert found.failed == {"read-even": "ValueError: no such thing"}
    assert [each.name for each in found.rows] == ["read-gpu-bound"]


def test_a_scenario_is_held_against_precomputed_with_the_ceiling_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN a run whose naive steps take 250 and 350 us, replayed 180, precomputed 200
    lines = (Line("app/model.py", 7),)
    known = gdn_session()
    naive = replace(known.recordings[0], rounds_ns=((250 * US, 350 * US),), replays=(Replay(lines, ((180 * US,),)),))
    precomputed = replace(known.recordings[1], rounds_ns=((200 * US, 200 * US),))
    plans: list[Plan] = []

    class Run:
        def __init__(self, _scenario: object, _options: object, _device: object, plan: Plan, _show: object) -> None:
            plans.append(plan)

        def run(self) -> None: ...

        def session(self) -> Session:
            return replace(known, recordings=(naive, precomputed))

    monkeypatch.setattr(scenarios, "ScenarioRun", Run)

    # WHEN
    opened = open_device(DeviceChoice.VIRTUAL)
    found, _ = scenarios.run_scenario(opened, "gdn-prefill", 3, steps=5)
    opened.close()

    # THEN the mean step counts, since the gain is a mean too
    assert (found.true_us, found.what_if_us) == (100.0, 120.0)
    assert found.family == "scenario"
    assert (plans[0].steps, plans[0].rounds, plans[0].variants) == (5, 3, ("naive", "precomputed"))
    assert plans[0].lines_of is not None and plans[0].lines_of(naive)


def test_the_allocators_calls_are_no_part_of_what_a_scenario_is_said_to_gain() -> None:
    found = report_of(gdn_session()).variants[0]
    sites = (replace(found.sites[0], gain_us=30.0), replace(found.sites[0], kind=SyncKind.ALLOCATION, gain_us=12.0))

    said = scenarios._said(replace(found, sites=sites, per_step=replace(found.per_step, gain_us=40.0)))

    assert (said.gain_us, said.sites) == (28.0, 1)


def test_traces_are_refused_on_the_virtual_device(tmp_path: Path) -> None:
    ended = CliRunner().invoke(gains.app, ["run", str(tmp_path / "x"), "--device", "virtual", "--traces"])

    assert ended.exit_code == 2
    assert "see no virtual device" in ended.output


def test_a_trace_tells_who_recorded_it(tmp_path: Path, device: WatchedDevice) -> None:
    session = replace(gdn_session(), recorder=RecordedBy.TORCH_PROFILER)
    table = gains.Table(tmp_path / "gains.json", None, False)

    gains._add_traced(PROGRAMS["read-even"], Truth(1.0, 1.0, 0.0, (0.0, 0.0)), 4, session, table, None)

    assert [(each.name, each.source, each.sites) for each in table.rows] == [("read-even", "torch.profiler", 0)]


def test_the_page_of_prices_shows_the_table_with_its_summary(tmp_path: Path) -> None:
    table = gains.Table(tmp_path / "gains.json", "NVIDIA H200", modelled=False)
    table.add(row(true=100.0, said=104.0))
    page = readme_costs.BLOCKS["gains"](Results(tmp_path))
    assert markdown(table.rows) in page and "1 of 1 within" in page and "NVIDIA H200" in page
