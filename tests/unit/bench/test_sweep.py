"""A sweep is divided among processes, saved and compared; only the last test starts the processes, on one operator."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from syncwatch.bench.probing import sweep_cases
from syncwatch.bench.probing.sweep import SHIPPED, CaseResult, Sweep, SweepOperator, compare, comparison_table
from syncwatch.bench.probing.sweep_run import SweepPlan, sweep
from syncwatch.cli.probe import compare_files
from syncwatch.errors import NotMeasuredError, SessionError
from syncwatch.sense.choose_device import DeviceChoice

WAITS = CaseResult({"stream": 1}, {"d2h pinned": 1})
GROUP = "nonzero||float32|contiguous|0|forward"


def swept(**changes: object) -> Sweep:
    name = "nonzero|"
    cases = {f"{GROUP}|33": WAITS, f"{GROUP}|2049": WAITS}
    operator = SweepOperator(name, cases, {GROUP: "float32[3]"})
    for field, value in changes.items():
        setattr(operator, field, value)
    return Sweep("cuda", "H200", "2.11.0", 1.0, {name: operator})


@pytest.mark.parametrize(
    ("changes", "outcomes"),
    [
        ({}, {"hit": 2}),
        ({"cases": {f"{GROUP}|33": CaseResult(), f"{GROUP}|2049": WAITS}}, {"missed": 1, "hit": 1}),
        ({"cases": {f"{GROUP}|33": WAITS}}, {"hit": 1, "absent": 1}),
        ({"cases": {f"{GROUP}|33": WAITS}, "stopped": {f"{GROUP}|2049": "long"}}, {"hit": 1, "cost": 1}),
        ({"cases": {f"{GROUP}|33": WAITS}, "failed": {f"{GROUP}|2049": "no"}}, {"hit": 1, "crashed": 1}),
        ({"signatures": {GROUP: "float32[4]"}}, {"shapes": 2}),
    ],
)
def test_every_case_has_one_outcome(changes: dict[str, object], outcomes: dict[str, int]) -> None:
    comparison = compare(swept(), swept(**changes))

    assert +comparison.total == outcomes
    assert comparison.agrees == (not {"missed", "invented", "crashed"} & outcomes.keys())
    assert len(comparison.rows) == sum(outcomes.get(each, 0) for each in ("missed", "invented", "crashed"))


def test_what_waits_here_alone_is_invented_and_named() -> None:
    quiet = swept(cases={f"{GROUP}|33": CaseResult(), f"{GROUP}|2049": CaseResult()})

    comparison = compare(quiet, swept())

    assert +comparison.total == {"invented": 2}
    assert comparison.rows[0].startswith(f"nonzero|: INVENTED {GROUP}|33")
    assert comparison.families["type float32"]["invented"] == 2
    assert "| all | 2 | 0.00% |  | 0.00% | 0 | 0 |" in list(comparison_table(comparison))


@pytest.mark.parametrize("name", ["sweep.json", "sweep.json.gz"])
def test_a_sweep_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    swept().save(tmp_path / name)

    assert Sweep.load(tmp_path / name) == swept()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", gzip.compress(b"{", mtime=0)], ids=["nothing", "empty", "list", "half"]
)
def test_what_is_no_sweep_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ("sweep.json.gz" if content.startswith(b"\x1f") else "sweep.json")
    path.write_bytes(content)

    with pytest.raises(SessionError, match="is not a sweep"):
        Sweep.load(path)


def test_the_shipped_sweep_covers_sizes_layouts_types_memory_and_backward() -> None:
    shipped = Sweep.load(SHIPPED)
    parts = [case.split("|") for each in shipped.operators.values() for case in each.cases]
    tried = [each for each in parts if len(each) > 3]

    assert len(shipped.operators) > 650 and len(parts) > 15_000
    assert {"contiguous", "strided", "channels_last", "pageable", "pinned", "coo", "csr", "jagged"} <= {
        each[3] for each in tried
    }
    assert {"float32", "float64", "float16", "bfloat16", "int64", "bool", "complex64"} <= {each[2] for each in tried}
    assert {int(each[-1]) for each in parts} >= {1, 33, 1025, 2049, 65_536, 1_000_000}
    assert {each[5] for each in tried} == {"forward", "backward"}


def test_the_short_sweep_is_a_part_of_the_full_one() -> None:
    short = [case.name for case in sweep_cases.cases("nonzero|", full=False)]
    full = [case.name for case in sweep_cases.cases("nonzero|")]

    assert short and len(short) < len(full) / 2
    assert set(short) <= set(full)


def test_an_operator_is_swept_in_a_process_of_its_own() -> None:
    plan = SweepPlan(DeviceChoice.VIRTUAL, "argwhere|", like=Sweep.load(SHIPPED), jobs=1)
    progress: list[tuple[str, int, int]] = []

    found = sweep(plan, Sweep(), lambda *each: progress.append(each))

    comparison = compare(Sweep.load(SHIPPED), found)
    assert found.device == "virtual"
    assert comparison.total["hit"] >= 3 and comparison.agrees, comparison.rows
    assert progress[-1] == ("sweep operators", 1, 1)


def test_a_sweep_of_which_no_process_tells_anything_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")

    with pytest.raises(NotMeasuredError, match="No operator could be swept: exit 1"):
        sweep(SweepPlan(DeviceChoice.VIRTUAL, "nonzero|", jobs=1), Sweep(), lambda *each: None)


def test_two_sweeps_are_compared_as_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    swept().save(tmp_path / "a.json")
    swept(cases={f"{GROUP}|33": CaseResult(), f"{GROUP}|2049": WAITS}).save(tmp_path / "b.json")

    compare_files(tmp_path / "a.json", tmp_path / "b.json", "")

    said = capsys.readouterr().out
    assert f"MISSED {GROUP}|33" in said and "0 of 1 agree in every case" in said
