"""Lists the sensors, and which of them work on this machine, for `syncwatch doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from syncwatch.sense.cuda.assemble import RECORDS
from syncwatch.sense.cuda.blocking_copies import BlockingCopies
from syncwatch.sense.cuda.debug_mode import DebugMode
from syncwatch.sense.cuda.explicit_waits import ExplicitWaits
from syncwatch.sense.cuda.one_run import unavailable
from syncwatch.sense.cuda.runtime_calls import NAME
from syncwatch.sense.virtual.device import VirtualDevice

_HIDDEN = ("the Python line, which the driver's calls give it by correlation id",)


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
    sensors = (DebugMode(), ExplicitWaits(), BlockingCopies(), VirtualDevice())
    others = (SensorEntry(each.name, each.sees, each.blind_to, each.unavailable()) for each in sensors)
    refused = unavailable()
    return (
        SensorEntry(
            NAME, "every wait, copy and allocation of the driver, from any library, with its line", (), refused
        ),
        SensorEntry(RECORDS, "every kernel, copy and memset, with its time and its call", _HIDDEN, refused),
        *others,
    )
