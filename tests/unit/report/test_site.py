"""The lines of text that describe one site: how often it waits, what that costs, and why it is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from syncwatch.model.report import Site
from syncwatch.pipeline import report_of
from syncwatch.report.gain import StepLength
from syncwatch.report.site import block
from syncwatch.report.terminal import TerminalReporter
from syncwatch.report.text import Page
from tests.helpers.fakes import Stacks, frame, recording, session, steps, sync

SITE = report_of(session(recording(syncs=[sync()]))).sites[0]


def shown(width: int = 200, **figures: Any) -> str:
    site: Site = replace(SITE, **figures)
    return Page(width, color=False, unicode=True).render(lambda console: block(site, console, StepLength()))


def cost(**figures: Any) -> str:
    """Return the line that describes the cost; what removing it gains stands in the line before."""
    lines = shown(**figures).splitlines()
    return next(after.strip() for line, after in pairwise(lines) if "cost: " in line)


@pytest.mark.parametrize(
    ("calls", "a_step", "structural", "said"),
    [
        (1, 1.0, False, "1 call a step ·"),
        (40, 2.0, True, "2 calls a step, in every step ·"),
        (10, 0.5, False, "0.50 calls a step, not in every step ·"),
    ],
)
def test_a_site_says_whether_it_waits_in_every_step(calls: int, a_step: float, structural: bool, said: str) -> None:
    assert cost(calls=calls, calls_per_step=a_step, structural=structural).startswith(said)


def test_blocked_time_is_split_where_the_split_is_known() -> None:
    assert "host blocked 610 µs (drain wait 600 µs, call overhead 10.0 µs)" in cost(
        host_blocked_us=610.0, drain_wait_us=600.0, call_overhead_us=10.0
    )
    assert "host blocked 610 µs ·" in cost(host_blocked_us=610.0)


def test_idle_time_has_its_share_of_the_step() -> None:
    assert "GPU idle 50.0 µs (12.5 % of its span)" in cost(gpu_idle_us=50.0, step_share=0.125)


@pytest.mark.parametrize(("share", "said"), [(0.0004, "under 0.1 %"), (0.0006, "0.1 %"), (0.5, "50.0 %")])
def test_a_share_too_small_to_show_is_not_shown_as_nothing(share: float, said: str) -> None:
    assert f"GPU idle 50.0 µs ({said} of its span)" in cost(gpu_idle_us=50.0, step_share=share)


@pytest.mark.parametrize(("stream_us", "said"), [(50.9, False), (51.2, True), (None, False)])
def test_the_stream_is_named_only_where_others_worked(stream_us: float | None, said: bool) -> None:
    assert ("its stream idle" in cost(gpu_idle_us=50.0, stream_idle_us=stream_us)) is said


def test_the_reason_of_an_allow_is_shown() -> None:
    assert " = allowed: once a request [red]\\x1b" in shown(allowed="once a request [red]\x1b")
    assert "allowed" not in shown()


@pytest.mark.parametrize("width", range(40, 130, 6))
def test_no_figure_is_torn_from_its_name_between_lines(width: int) -> None:
    lines = shown(width, gpu_idle_us=50.0, stream_idle_us=99.0, bytes=40).splitlines()
    assert any("GPU idle 50.0 µs" in line for line in lines)
    assert any("its stream idle 99.0 µs" in line for line in lines)


def warming(lines: Sequence[int]) -> str:
    stacks = Stacks()
    syncs = [sync(0, stack=stacks.add(frame(line=line))) for line in lines for _ in range(2)]
    return TerminalReporter(100).render(
        report_of(session(recording(syncs=syncs, steps=steps(4, warmup=1), stacks=stacks)))
    )


def test_lines_that_waited_in_warm_up_alone_are_listed_apart() -> None:
    rendered = warming([7])
    assert "naive: no sync in 3 steps" in rendered
    assert "only in warm-up:\n  SW101 app/train.py:7 in step · 2 calls\n" in rendered


def test_of_many_lines_in_warm_up_eight_are_shown() -> None:
    rendered = warming(range(1, 12))
    assert rendered.count("SW101") == 8
    assert "  and 3 more lines; `--format json` has them all" in rendered
