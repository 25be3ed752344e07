"""A torch that was never tried is named in the report, by the gate and by doctor; so is a name that it lacks."""

from __future__ import annotations

from datetime import date

import pytest
import torch

import syncwatch
from syncwatch.cli.doctor import doctor
from syncwatch.compat import tried
from syncwatch.errors import NotMeasuredError
from syncwatch.judge.gate import judge
from syncwatch.model.verdict import Policy, Reason, Severity


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(tried, "NEWEST_TORCH", "2.0.0")
    return f"torch {torch.__version__} is newer than any that syncwatch was tried with (2.0.0)"


def test_the_report_says_it_and_the_gate_remarks_it(newer: str) -> None:
    with syncwatch.watch(device="virtual") as watch:
        torch.ones(2, device="cuda").sum()

    assert [note for note in watch.report.notes if note.startswith(newer)]
    rulings = judge(watch.report, Policy(), today=date.today()).rulings
    remarks = [each for each in rulings if each.reason is Reason.REMARK and newer in each.message]
    assert [each.severity for each in remarks] == [Severity.WARN]


def test_doctor_says_it(newer: str, capsys: pytest.CaptureFixture[str]) -> None:
    doctor()

    assert newer in capsys.readouterr().out


def test_a_name_of_torch_that_is_gone_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.autograd.graph, "_engine_run_backward")

    with pytest.raises(NotMeasuredError, match=r"cannot be put on \(.*_engine_run_backward.*\) with torch "):
        syncwatch.watch(device="virtual").__enter__()


def test_nothing_stays_patched_after_that(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.cuda.is_available
    monkeypatch.delattr(torch.autograd.graph, "_engine_run_backward")
    with pytest.raises(NotMeasuredError):
        syncwatch.watch(device="virtual").__enter__()

    assert torch.cuda.is_available is before
