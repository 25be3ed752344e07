"""torch's sync debug mode bears witness: what it warns of must be among the waits that the driver's calls showed."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator

import pytest
import torch

from syncwatch.sense.cuda import witness
from syncwatch.sense.cuda.runtime_calls import place_of
from syncwatch.sense.cuda.sync_warnings import MESSAGE
from syncwatch.sense.cuda.witness import Witness
from tests.helpers.fake_cupti import fake_debug_mode


@pytest.fixture
def filters() -> Iterator[None]:
    """Let every warning be shown, and put the filters back."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield


def warn() -> int:
    """Warn as torch does; return the place of the warning."""
    place = place_of(sys._getframe())
    warnings.warn(MESSAGE, UserWarning, stacklevel=1)
    return place


def test_it_counts_the_waits_that_torch_warns_of_and_nobody_saw(filters: None, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = fake_debug_mode(monkeypatch)
    found = Witness()
    found.start()
    during = modes[-1]
    for _ in range(3):
        warn()
    found.stop()

    ((place, count),) = found.warned_at.items()
    assert (during, modes[-1], count, found.warned()) == (1, 0, 3, 3)
    assert found.unseen({place: 3}) == found.unseen({place: 5}) == 0
    assert (found.unseen({place: 1}), found.unseen({}), found.unseen({place + 1: 9})) == (2, 3, 3)


def test_a_user_who_set_no_mode_sees_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_debug_mode(monkeypatch)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = Witness()
        found.start()
        warn()
        found.stop()
        warn()

    assert len(seen) == 1
    assert found.warned() == 1


@pytest.mark.parametrize("mode", [1, 2])
def test_a_mode_that_the_program_has_set_is_left_alone_and_its_warnings_go_on(
    monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    modes = fake_debug_mode(monkeypatch, mode)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = Witness()
        found.start()
        warn()
        found.stop()

    assert modes == [mode]
    assert (len(seen), found.warned()) == (1, 1)


def test_a_mode_that_the_program_sets_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = fake_debug_mode(monkeypatch)
    found = Witness()
    found.start()
    modes.append(2)
    found.stop()

    assert modes == [0, 1, 2]


def test_after_enough_warnings_the_mode_is_off(filters: None, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = fake_debug_mode(monkeypatch)
    monkeypatch.setattr(witness, "ENOUGH", 3)
    found = Witness()
    found.start()
    seen = []
    for _ in range(3):
        warn()
        seen.append(modes[-1])
    found.stop()

    assert seen == [1, 1, 0]
    assert modes == [0, 1, 0]


def test_where_torch_has_no_mode_nothing_was_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_cuda_get_sync_debug_mode", "_cuda_set_sync_debug_mode"):
        monkeypatch.delattr(torch._C, name, raising=False)
    before = warnings.filters
    found = Witness()
    found.start()
    found.stop()

    assert found.warned() is None
    assert warnings.filters is before


def test_it_leaves_the_filters_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_debug_mode(monkeypatch)
    before, content = warnings.filters, list(warnings.filters)
    found = Witness()
    found.start()
    found.stop()
    found.stop()

    assert warnings.filters is before and list(warnings.filters) == content


def test_a_new_line_brings_the_mode_back_but_not_over_one_that_the_program_has_set(
    filters: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = fake_debug_mode(monkeypatch)
    found = Witness()
    found.start()
    for _ in range(witness.ENOUGH):
        warn()
    off = modes[-1]
    found.new_line()
    on = modes[-1]
    for _ in range(witness.ENOUGH):
        warn()
    modes.append(2)
    found.new_line()
    found.stop()

    assert (off, on, modes[-1]) == (0, 1, 2)
