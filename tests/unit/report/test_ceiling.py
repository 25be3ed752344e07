"""What the report says of `--what-if`: the time that a step could take, with its interval, or why it is unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncwatch.model.report import NO_LINE, RecordingSummary, StepTime, WhatIf
from syncwatch.model.session import Line
from syncwatch.pipeline import report_of
from syncwatch.report.ceiling import ceiling
from syncwatch.report.text import Page
from tests.helpers.fakes import recording, session

READ = Line("app/model.py", 41)
FASTER = StepTime(3.0, (2.9, 3.1), modelled=False)
VARIANT = report_of(session(recording(rounds_ns=[[4_000_000, 4_000_000]]))).variants[0]


def shown(*found: WhatIf) -> str:
    variant: RecordingSummary = replace(VARIANT, what_if=found)
    return Page(200, color=False, unicode=True).render(lambda console: ceiling(variant, console))


def test_nothing_is_said_where_it_was_not_asked() -> None:
    assert shown().strip() == ""


def test_a_ceiling_has_its_interval_and_what_it_is_held_against() -> None:
    rendered = shown(WhatIf((READ,), FASTER, 1.5, (1.45, 1.55), None))
    assert "at best, against 4.50 ms as it is:" in rendered
    assert "app/model.py:41: 3.00 ms, 1.500x (95 % interval 1.450 to 1.550)" in rendered


def test_an_interval_that_holds_one_shows_no_difference() -> None:
    rendered = shown(WhatIf((READ,), FASTER, 1.002, (0.99, 1.01), None))
    assert "3.00 ms, no difference shown (ratio 1.002, 95 % interval 0.990 to 1.010)" in rendered


def test_why_a_replay_was_not_possible_is_said_and_no_time() -> None:
    rendered = shown(WhatIf((READ,), None, None, None, "Its values feed back."))
    assert rendered.splitlines()[1] == "  app/model.py:41: not known. Its values feed back."


def test_lines_together_are_counted() -> None:
    assert "  2 lines together: 3.00 ms" in shown(WhatIf((READ, Line("b.py", 2)), FASTER, None, None, None))


def test_a_modelled_ceiling_is_marked() -> None:
    rendered = shown(WhatIf((READ,), StepTime(3.0, None, modelled=True), 1.5, None, None))
    assert "against 4.50 ms (modelled) as it is" in rendered and "3.00 ms (modelled), 1.500x" in rendered


@pytest.mark.parametrize("time", [FASTER, None])
def test_a_wait_without_a_line_is_named_so(time: StepTime | None) -> None:
    assert "  no Python line: " in shown(WhatIf((Line(NO_LINE, 0),), time, None, None, None))
