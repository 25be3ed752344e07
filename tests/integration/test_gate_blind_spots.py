"""Programs that wait where the gate might not look: it reports the wait, or what it could not see; none is clean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from syncwatch.judge.gate import judge
from syncwatch.model.verdict import Outcome, Policy
from syncwatch.pipeline import report_of
from syncwatch.traces.opening import open_session
from tests.helpers.command import Ended, syncwatch
from tests.helpers.judging import TODAY
from tests.helpers.nsys_files import NsysExport
from tests.helpers.waits import sites_that_wait

_HEAD = """
import nvtx, torch
import syncwatch
from nvtx import annotate
from torch.cuda.nvtx import range as torch_range
from torch.profiler import record_function

x = torch.arange(8.0, device="cuda")
"""


def gate(folder: Path, program: str, policy: str = "", *arguments: str) -> Ended:
    """Return how the gate ends on `program` under `policy`."""
    (folder / "train.py").write_text(_HEAD + program)
    (folder / "syncwatch.toml").write_text(policy)
    return syncwatch("gate", "train.py", "--device", "virtual", *arguments, cwd=folder)


def rulings(folder: Path, program: str, policy: str = "", *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code and what the gate says, as JSON."""
    ended = gate(folder, program, policy, "--format", "json", *arguments)
    return ended.code, json.loads(ended.out)["verdict"]["rulings"]


def test_ranges_of_torch_and_nvtx_are_judged(tmp_path: Path) -> None:
    program = """
for way in (torch_range, annotate, record_function, lambda name: annotate(name, domain="app")):
    with way("decode"):
        x.sum().item()
    with way("sample"):
        x.sum().item()
"""
    policy = 'implicit = "allow"\n[ranges]\n"decode" = "disallow"\n'
    code, found = rulings(tmp_path, program, policy)
    assert code == 1
    failing = [ruling["site"] for ruling in found if ruling["severity"] == "fail"]
    assert [(site["ranges"], site["calls"]) for site in failing] == [(["decode"], 4)]


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ('[ranges]\n"decod *" = "disallow"\n', 'ranges."decod *"'),
        ('[paths]\n"trian.py" = "disallow"\n', 'paths."trian.py"'),
    ],
)
def test_a_rule_that_matches_nothing_is_said_in_every_format(tmp_path: Path, policy: str, said: str) -> None:
    formats = ("terminal", "json=out.json", "markdown=out.md", "html=out.html", "junit=out.xml", "sarif=out.sarif")
    asked = [word for form in (*formats, "github=out.txt") for word in ("--format", form)]
    loose = gate(tmp_path, "x.sum()\n", policy, *asked)
    assert loose.code == 0, loose.out
    assert "warning: " in loose.out
    assert said in loose.out
    name = said.split('"')[1]
    for form in ("json", "md", "html", "xml", "sarif", "txt"):
        assert name.split()[0] in (tmp_path / f"out.{form}").read_text().replace("\\", ""), form
    assert gate(tmp_path, "x.sum()\n", policy, "--strict").code == 1


def test_allocator_calls_are_judged_on_the_virtual_device(tmp_path: Path) -> None:
    assert gate(tmp_path, "x.sum()\n").code == 0
    ended = gate(tmp_path, "x.sum()\n", '[causes]\nSW6 = "disallow"\n')
    assert ended.code == 1
    assert "SW601" in ended.out


_STEPS = """
before = x.sum().item()
with syncwatch.step(warmup=True):
    x.tolist()
for _ in range(3):
    with syncwatch.step():
        x.sum()
    after = x.max().item()
"""


def test_waits_outside_every_step_are_judged_and_shown(tmp_path: Path) -> None:
    ended = gate(tmp_path, _STEPS, "", "--format", "terminal", "--format", "json=out.json", "-o", "run.json")
    assert ended.code == 1
    assert "syncwatch.step(warmup=True)" in " ".join(ended.out.split())
    assert "3 calls in the run" in ended.out
    report = json.loads((tmp_path / "out.json").read_text())
    (variant,) = report["variants"]
    sites = {site["source"]: site["calls"] for site in sites_that_wait(variant["outside_sites"])}
    assert sites == {"before = x.sum().item()": 1, "after = x.max().item()": 3}
    assert variant["sites"] == []
    for form in ("terminal", "markdown", "html", "junit", "sarif", "github"):
        shown = syncwatch("report", "run.json", "--format", f"{form}=shown", cwd=tmp_path)
        assert shown.code == 0, shown.err
        assert "train.py" in (tmp_path / "shown").read_text(), form


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ('outside_steps = "log"', 0),
        ('outside_steps = "allow"', 0),
        ('[paths]\n"train.py" = "allow"', 0),
        ('[[allow]]\npath = "train.py"\nreason = "loads"\n', 0),
        ('[[allow]]\npath = "train.py"\nreason = "loads until 2020-01-01"\n', 1),
        ("[budgets]\nsyncs = 9", 1),
    ],
)
def test_the_policy_says_what_becomes_of_them(tmp_path: Path, policy: str, code: int) -> None:
    ended = gate(tmp_path, _STEPS, policy)
    assert ended.code == code, ended.out


def test_the_baseline_knows_them_apart_from_those_of_a_step(tmp_path: Path) -> None:
    body = "def read():\n    return x.sum().item()\n"
    inside = body + "with syncwatch.step():\n    read()\n"
    outside = body + "with syncwatch.step():\n    x.sum()\nread()\n"
    assert gate(tmp_path, inside, "", "--update-baseline").code == 0
    assert gate(tmp_path, inside).code == 0
    assert gate(tmp_path, outside).code == 1
    assert gate(tmp_path, outside, "", "--update-baseline").code == 0
    assert gate(tmp_path, outside).code == 0
    assert gate(tmp_path, inside).code == 1


def test_a_budget_is_held_against_the_worst_step(tmp_path: Path) -> None:
    program = """
for number in range(3):
    with syncwatch.step():
        for _ in range(3 if number == 1 else 0):
            x.sum().item()
"""
    ended = gate(tmp_path, program, "", "--max-syncs", "1")
    assert ended.code == 1
    assert "syncs is 3 in the worst step (1 on average), and the budget is 1." in " ".join(ended.out.split())
    copies = gate(tmp_path, program, "[budgets]\nsyncs = 3\nd2h_copies = 2\n")
    assert copies.code == 1
    assert "d2h_copies is 3 in the worst step (1 on average)" in " ".join(copies.out.split())


def test_a_comment_that_has_ended_in_words_fails(tmp_path: Path) -> None:
    assert gate(tmp_path, "x.sum().item()  # syncwatch: allow[SW101] slow until 2020-01-01\n").code == 1
    refused = gate(tmp_path, "x.sum().item()  # syncwatch: allow[SW101] slow until 1/3/2027\n")
    assert refused.code == 2
    assert "train.py:9: '1/3/2027' is no date" in " ".join(refused.err.split())


def test_elapsed_time_is_no_wait(tmp_path: Path) -> None:
    program = """
start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
start.record(); end.record()
end.synchronize()
start.elapsed_time(end)
"""
    code, found = rulings(tmp_path, program)
    assert code == 0
    assert [ruling["site"]["source"] for ruling in found if ruling["site"]] == ["end.synchronize()"]


@pytest.mark.parametrize("damage", ["DROP TABLE StringIds", "DELETE FROM StringIds", "UPDATE StringIds SET value = ''"])
def test_an_export_whose_calls_have_no_names_is_not_clean(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        export.step_with_a_read(1000)
        export.database.execute(damage)
    session = open_session(path, None)
    assert "have no name in the file" in " ".join(session.unwatched)
    assert judge(report_of(session), Policy(), today=TODAY).outcome is Outcome.UNMEASURED


@pytest.mark.parametrize("table", ["RUNTIME", "MEMCPY"])
def test_an_export_without_what_waits_is_not_clean(tmp_path: Path, table: str) -> None:
    path = tmp_path / "trace.sqlite"
    with NsysExport(path) as export:
        export.kernel((1500, 5000), export.call("cudaLaunchKernel", (1000, 2000)))
        export.copy((6000, 6500), export.call("cudaMemcpyAsync_v3020", (5800, 7000)), 2, (2, 0), 8)
        export.database.execute(f"DELETE FROM CUPTI_ACTIVITY_KIND_{table}")
        export.database.execute("DELETE FROM CUPTI_ACTIVITY_KIND_SYNCHRONIZATION")
    assert judge(report_of(open_session(path, None)), Policy(), today=TODAY).outcome is Outcome.UNMEASURED


@pytest.mark.parametrize("category", ["cpu_op", "cuda_runtime, without names"])
def test_a_trace_of_the_profiler_without_calls_is_not_clean(tmp_path: Path, category: str) -> None:
    path = tmp_path / "trace.json"
    kernel = {"ph": "X", "cat": "kernel", "name": "gemm", "pid": 0, "tid": 7, "ts": 2, "dur": 3, "args": {"device": 0}}
    call = {"ph": "X", "cat": category.split(",")[0], "name": "", "pid": 1, "tid": 1, "ts": 1, "dur": 1, "args": {}}
    path.write_text(json.dumps({"traceEvents": [kernel, call]}))
    assert judge(report_of(open_session(path, None)), Policy(), today=TODAY).outcome is Outcome.UNMEASURED


def test_a_program_cannot_allow_its_own_waits_while_it_runs(tmp_path: Path) -> None:
    program = """
from pathlib import Path
x.sum().item()
file = Path(__file__)
file.write_text(file.read_text().replace("item()" + chr(10), "item()  # syncwatch: allow[SW101] because" + chr(10)))
"""
    ended = gate(tmp_path, program)
    assert ended.code != 0, ended.out
    said = " ".join(ended.out.split())
    assert "clean: " not in said and "train.py was changed while it ran" in said
    assert "allow[SW101]" in (tmp_path / "train.py").read_text()
    # An allowance that is there when the program starts does count.
    assert gate(tmp_path, "x.sum().item()  # syncwatch: allow[SW101] because\n").code == 0
