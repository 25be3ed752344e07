"""The sensor receives torch's warnings of waits, raised through C as torch does, whatever becomes of `warnings`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from types import FrameType

import pytest
import torch

from syncwatch.sense.cuda import sync_warnings
from syncwatch.sense.cuda.sync_warnings import MESSAGE, PROTOTYPE, SyncWarnings


class WaitsError(Exception):
    """The error that the sensor's callback raises."""


def refuse(frame: FrameType | None) -> bool:
    assert frame is not None
    raise WaitsError(frame.f_code.co_name)


def waits() -> None:
    """Warn as torch does: by the C code of `warnings`, to which torch's `PyErr_WarnEx` belongs."""
    warnings.warn(MESSAGE, UserWarning, stacklevel=1)


@pytest.fixture
def hooked() -> Iterator[None]:
    sensor = SyncWarnings(refuse)
    sensor.start()
    yield
    sensor.stop()


def ignoring() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        waits()


def recording() -> None:
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        waits()


def resetting() -> None:
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.filterwarnings("ignore")
        waits()


def erring() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        waits()


def deleting() -> None:
    with warnings.catch_warnings():
        del warnings.filters[:]  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", message=f".*{MESSAGE}")
        waits()


@pytest.mark.usefixtures("hooked")
@pytest.mark.parametrize("call", [waits, ignoring, recording, resetting, erring, deleting])
def test_a_wait_raises_inside_blocks_that_change_the_filters(call: Callable[[], None]) -> None:
    with pytest.raises(WaitsError, match="waits"):
        call()
    with pytest.raises(WaitsError):
        waits()


def test_a_warning_that_was_shown_once_is_heard_again() -> None:
    with pytest.warns(UserWarning), warnings.catch_warnings():
        warnings.simplefilter("default")
        waits_shown()
    sensor = SyncWarnings(refuse)
    sensor.start()
    try:
        with pytest.raises(WaitsError):
            waits_shown()
    finally:
        sensor.stop()


def waits_shown() -> None:
    warnings.warn(MESSAGE, UserWarning, stacklevel=1)


def test_other_warnings_go_where_they_went(hooked: None) -> None:
    with pytest.warns(DeprecationWarning, match="old"):
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.warn(f"{PROTOTYPE} feature", UserWarning, stacklevel=1)


@pytest.mark.parametrize("stops_here", [True, False])
def test_the_listener_says_whether_the_user_sees_it(stops_here: bool) -> None:
    sensor = SyncWarnings(lambda frame: stops_here)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        sensor.start()
        waits()
        sensor.stop()
    assert len(seen) == (0 if stops_here else 1)


def test_the_very_filters_are_back() -> None:
    filters, content = warnings.filters, list(warnings.filters)
    sensor = SyncWarnings(refuse)

    sensor.start()
    ignoring_nothing()
    sensor.stop()

    assert warnings.filters is filters and list(warnings.filters) == content


def ignoring_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")


def test_a_filter_that_was_added_in_between_stays() -> None:
    with warnings.catch_warnings():
        sensor = SyncWarnings(refuse)
        sensor.start()
        warnings.filterwarnings("ignore", message="mine")
        sensor.stop()

        assert type(warnings.filters) is list
        assert any("mine" in str(entry[1]) for entry in warnings.filters)
        with pytest.warns(UserWarning, match=MESSAGE):
            waits()


def test_what_the_listener_raises_comes_out_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uses another warning of torch's C++, since without a GPU torch warns of no wait."""
    monkeypatch.setattr(sync_warnings, "MESSAGE", "An output with one or more elements was resized")
    x, out = torch.ones(3), torch.ones(5)

    sensor = SyncWarnings(refuse)
    sensor.start()
    try:
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("ignore")
            for _ in range(2):
                with pytest.raises(WaitsError, match="test_what_the_listener_raises_comes_out_of_torch"):
                    torch.add(x, x, out=out)
                out = torch.ones(5)
    finally:
        sensor.stop()
