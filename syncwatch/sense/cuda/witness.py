"""Lets torch's own sync debug mode bear witness: each wait that it warns of must be among those that CUPTI saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FrameType

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.cuda.runtime_calls import place_of
from syncwatch.sense.cuda.sync_warnings import SyncWarnings
from syncwatch.sense.cuda.warn_mode import DEFAULT, hold, programs_mode, release, takes_warnings

NAME = "debug_mode"
"""What the mode is called in the coverage."""
ENOUGH = 16
"""After so many warnings without a new line that waits the mode goes off until there is one.

Each costs a read 3 to 15 us on an H200, and the next of one line say what the last did.
"""


@dataclass(slots=True, eq=False)
class Witness:
    """Runs `torch.cuda.set_sync_debug_mode("warn")` beside the callbacks, and counts what it warns of.

    A mode that the program has set, before or meanwhile, is the program's: it is left alone, and its warnings go on.
    """

    warned_at: dict[int, int] = field(default_factory=dict)
    """How many waits at each instruction of Python torch warned of, by `place_of`."""
    _begun: bool = False
    _count: int = 0
    _since_new: int = 0
    """Warnings since a new line waited."""
    _set: bool = False
    _warnings: SyncWarnings | None = None

    def start(self) -> None:
        """Switch the mode on where the program did not set it."""
        try:
            self._set = programs_mode() == DEFAULT
        except NotMeasuredError:
            return
        self._begun = True
        self._warnings = SyncWarnings(self._on_warning)
        self._warnings.start()
        if self._set:
            hold(self)

    def stop(self) -> None:
        """Put the mode and the filters of warnings back."""
        if self._warnings is None:
            return
        release(self)
        self._warnings.stop()
        self._warnings = None

    def _on_warning(self, frame: FrameType | None) -> bool:
        """Count it; a user who did not ask for warnings gets none."""
        if frame is not None:
            place = place_of(frame)
            self.warned_at[place] = self.warned_at.get(place, 0) + 1
            self._count += 1
            self._since_new += 1
            if self._since_new >= ENOUGH:
                release(self)
        return self._set and takes_warnings(self)

    def new_line(self) -> None:
        """Listen again: a line waits that did not wait before."""
        if self._warnings is None or not self._set or programs_mode() != DEFAULT:
            return
        if self._since_new >= ENOUGH:
            hold(self)
        self._since_new = 0

    def warned(self) -> int | None:
        """Return how many waits torch warned of; None where it was never asked."""
        return self._count if self._begun else None

    def unseen(self, waits_at: Mapping[int, int]) -> int:
        """Return how many waits torch warned of that no driver call was seen for.

        Args:
            waits_at: how many waits of the driver each instruction led to, by `place_of`.
        """
        return sum(max(0, count - waits_at.get(place, 0)) for place, count in self.warned_at.items())
