from __future__ import annotations

from collections.abc import Iterator

import pytest

from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice


@pytest.fixture
def device() -> Iterator[VirtualDevice]:
    """The device, on for one test."""
    device = VirtualDevice()
    device.start()
    yield device
    device.stop()


@pytest.fixture
def recorder(device: VirtualDevice) -> Recorder:
    """What records the device."""
    recorder = Recorder(now_ns=device.now_ns)
    device.record_into(recorder)
    return recorder
