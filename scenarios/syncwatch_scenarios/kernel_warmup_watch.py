"""Answers: which lines of a fresh process wait for the device, in each part of its life?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from syncwatch.model.session import Recording, Session
from syncwatch.sense.device import DeviceChoice, open_device


class Watch:
    """Watches the lines that wait. Not their times: CUPTI would record every launch of every benchmark.

    Args:
        on: whether to watch at all; a process whose times count must not.

    Raises:
        NotMeasuredError: if there is no GPU to watch.
    """

    def __init__(self, *, on: bool) -> None:
        self._device = open_device(DeviceChoice.CUDA) if on else None
        self._recordings: list[Recording] = []

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Watch everything inside, as the recording `name`."""
        if self._device is None:
            yield
            return
        with self._device.sense(name) as sensed:
            yield
        if sensed.recording is not None:
            self._recordings.append(sensed.recording)

    def session(self) -> Session:
        """Return what was seen of each part; only where it is on."""
        assert self._device is not None
        return Session(
            target="kernel-warmup",
            device=self._device.kind,
            environment=self._device.environment(),
            recordings=tuple(self._recordings),
            outputs_equal=None,
            complete=True,
        )
