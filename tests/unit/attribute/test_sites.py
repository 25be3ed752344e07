"""Each wait of a recording gets its line and its cause; a wait without a line is kept."""

from __future__ import annotations

from syncwatch.attribute.sites import attribute
from syncwatch.model.events import Direction, SyncKind
from syncwatch.model.report import NO_LINE
from tests.helpers.attributed import findings_of
from tests.helpers.fakes import Stacks, copy, frame, recording, sync


def test_a_wait_is_paired_with_its_line_and_cause() -> None:
    # GIVEN
    stacks = Stacks()
    line = stacks.add(frame("n = x.item()", "x.item()", file="app/a.py", line=3, function="Model.forward"))

    # WHEN
    (found,) = findings_of(recording(syncs=[sync(stack=line)], stacks=stacks))

    # THEN
    assert (found.code, found.file, found.line, found.function) == ("SW101", "app/a.py", 3, "Model.forward")
    assert (found.source, found.expression, found.explicit) == ("n = x.item()", "x.item()", False)


def test_pacing_waits_of_the_runner_are_nobodys_line_and_keep_their_place() -> None:
    pacing, own = attribute(recording(syncs=[sync(pacing=True), sync()]))
    assert pacing is None
    assert own is not None and own.code == "SW101"


def test_a_wait_without_a_line_is_kept_and_says_so() -> None:
    (found,) = findings_of(recording(syncs=[sync(stack=None, op="aten.nonzero")]))
    assert (found.code, found.file, found.line) == ("SW202", NO_LINE, 0)


def test_the_copy_of_the_same_call_tells_the_direction() -> None:
    # GIVEN one line that moves a tensor, and a copy of another step that must not confuse it
    stacks = Stacks()
    line = stacks.add(frame("y = x.to(device)", "x.to(device)"))
    syncs = [sync(0, stack=line), sync(1, stack=line)]
    copies = [copy(0, direction=Direction.D2H, stack=line), copy(1, direction=Direction.H2D, stack=line)]

    # WHEN
    found = findings_of(recording(syncs=syncs, copies=copies, stacks=stacks))

    # THEN
    assert [item.code for item in found] == ["SW104", "SW302"]


def test_copies_both_ways_tell_nothing() -> None:
    stacks = Stacks()
    line = stacks.add(frame("y = helper(x)", "helper(x)"))
    copies = [copy(direction=Direction.D2H, stack=line), copy(direction=Direction.H2D, stack=line)]
    (found,) = findings_of(recording(syncs=[sync(stack=line)], copies=copies, stacks=stacks))
    assert found.code == "SW900"


def test_the_body_of_an_if_is_not_shown_as_what_waited() -> None:
    stacks = Stacks()
    line = stacks.add(frame("if flag:", "if flag: y = x + 1"))
    (found,) = findings_of(recording(syncs=[sync(stack=line)], stacks=stacks))
    assert (found.code, found.expression) == ("SW103", "if flag:")


def test_a_copy_that_blocks_was_never_asked_for_whatever_a_sensor_says() -> None:
    (found,) = findings_of(recording(syncs=[sync(kind=SyncKind.COPY, explicit=True)]))
    assert (found.code, found.explicit) == ("SW304", False)
