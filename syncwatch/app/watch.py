"""Watch a block of one's own code, `with syncwatch.watch() as watch:`, or a server from `start()` to `stop()`."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Sequence

from syncwatch.errors import SyncwatchError
from syncwatch.model.report import Report
from syncwatch.pipeline import report_of
from syncwatch.sense.watched_block import WatchedBlock


class watch(WatchedBlock):  # noqa: N801  # used as `with syncwatch.watch() as watch:`
    """Watches a block of code and reports the lines that made the CPU wait.

    After the block, `report` and `session` hold what was found, also when the block raised. Where there is no block, as
    in a server, `start()` and `stop()` stand for its ends, and may be called on different threads. Watches nest, and
    may overlap; each watches once.

    Args:
        device: "auto" (the GPU if there is one, else the virtual device), "cuda" or "virtual".
        target: what the report calls the block.
        prices: False leaves the times out, and with them nearly all that watching costs on CUDA: CUPTI stays off.

    Raises:
        UsageError: if there is no such choice of device.
        NotMeasuredError: on entry and by `start`, if the device cannot be watched here.
    """

    def start(self) -> None:
        """Watch everything from now on, in every thread, until `stop`, or until Python ends.

        Raises:
            UsageError: if it was started before.
            NotMeasuredError: if the device cannot be watched here.
        """
        super().start()
        # What is taken off later finds half of Python gone.
        atexit.register(self._stop_at_exit)

    def _end(self, missing: Sequence[str]) -> None:
        atexit.unregister(self._stop_at_exit)
        super()._end(missing)

    def _stop_at_exit(self) -> None:
        with contextlib.suppress(SyncwatchError):
            self.stop()

    @property
    def report(self) -> Report:
        """What was found; raises as `session` does."""
        return report_of(self.session)
