"""What the plugin keeps while pytest runs: the device, what the project decided, and what tests gave."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from syncwatch.app.gate import baseline_for
from syncwatch.app.project.config import Settings, read_settings
from syncwatch.model.session import DeviceKind, Session
from syncwatch.model.verdict import KnownSite
from syncwatch.pytest_plugin.judging import Judged, judge_test
from syncwatch.pytest_plugin.marks import Limit
from syncwatch.sense.base import WatchedDevice
from syncwatch.sense.choose_device import DeviceChoice, open_device


@dataclass
class Watching:
    """One run of pytest, or one worker of it."""

    choice: DeviceChoice
    root: Path
    """Where the configuration is looked for, and upwards from."""
    given_baseline: Path | None
    updates: bool
    """Whether the baseline is written."""
    kind: DeviceKind | None = None
    """Of the device that was on last; None where none was."""
    _device: WatchedDevice | None = None

    @cached_property
    def settings(self) -> Settings:
        """What the project decided."""
        return read_settings(self.root)

    @cached_property
    def _baseline(self) -> tuple[Path, tuple[KnownSite, ...] | None]:
        return baseline_for(self.settings, self.given_baseline, updating=self.updates)

    def device(self) -> WatchedDevice:
        """Return the device, on; the virtual one stays on for fixtures that several tests share.

        Raises:
            NotMeasuredError: if there is none to watch.
        """
        if self._device is None:
            self._device = open_device(self.choice)
            self.kind = self._device.kind
        return self._device

    def close(self) -> None:
        """Take the device off, if it is on."""
        if self._device is not None:
            self._device.close()
            self._device = None

    def judge(
        self, session: Session, limit: Limit, name: str, *, idle: str | None = None, left: tuple[str, ...] = ()
    ) -> Judged:
        """Return what is to be said of the test called `name`.

        Args:
            session: what was recorded.
            limit: what the marker asks.
            name: the node id.
            idle: why nothing in it could have waited; None where something could.
            left: what it left running, a sentence each.

        Raises:
            UsageError: if the configuration, the baseline or an allow comment is malformed.
        """
        path, known = self._baseline
        update = path if self.updates else None
        session = replace(session, unwatched=(*session.unwatched, *left))
        return judge_test(session, limit, self.settings, known, name=name, update=update, idle=idle)
