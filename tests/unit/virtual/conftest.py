"""Fixtures for tests on the virtual device: the device, for a module or for one test, and its recorder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice


@contextlib.contextmanager
def _on() -> Iterator[VirtualDevice]:
    device = VirtualDevice()
    device.start()
    yield device
    device.stop()


@pytest.fixture(scope="module")
def module_device() -> Iterator[VirtualDevice]:
    """The device, on for every test of a module that asks for it in its `pytestmark`."""
    with _on() as device:
        yield device


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Iterator[VirtualDevice]:
    """The device: the one that is on for the module, else one for this test alone."""
    if "module_device" in request.fixturenames:
        yield request.getfixturevalue("module_device")
        return
    with _on() as device:
        yield device


@pytest.fixture
def recorder(device: VirtualDevice) -> Iterator[Recorder]:
    """What records the device."""
    recorder = Recorder(now_ns=device.now_ns)
    device.record_into(recorder)
    yield recorder
    device.record_into(None)
