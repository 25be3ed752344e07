"""Lists the sensors, and which of them work on this machine, for `syncwatch doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from syncwatch.sense.cuda.blocking_copies import BlockingCopies
from syncwatch.sense.cuda.cupti_records import Cupti
from syncwatch.sense.cuda.debug_mode import DebugMode
from syncwatch.sense.cuda.explicit_waits import ExplicitWaits
from syncwatch.sense.cuda.runtime_calls import RuntimeCalls
from syncwatch.sense.virtual.device import VirtualDevice


@dataclass(frozen=True, slots=True)
class SensorEntry:
    """One sensor, and whether it can run on this machine."""

    name: str
    sees: str
    blind_to: tuple[str, ...]
    unavailable: str | None
    """Why it cannot run here, or None."""


def survey() -> tuple[SensorEntry, ...]:
    """Return every sensor, with why it cannot run here where it cannot."""
    sensors = (RuntimeCalls(), DebugMode(), ExplicitWaits(), BlockingCopies(), Cupti(), VirtualDevice())
    return tuple(SensorEntry(each.name, each.sees, each.blind_to, each.unavailable()) for each in sensors)
