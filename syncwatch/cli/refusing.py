"""Turns an error into a sentence on stderr and an exit code; no other place of the CLI catches one."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from syncwatch.cli.screen import say
from syncwatch.cli.streams import err
from syncwatch.errors import EXIT_INTERRUPTED, EXIT_NOT_MEASURED, SyncwatchError


def exit_code_of(work: Callable[[], int]) -> int:
    """Return the exit code of `work`; every refusal becomes a sentence on stderr and its exit code."""
    try:
        return work()
    except SyncwatchError as error:
        say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        say("Interrupted.")
        return EXIT_INTERRUPTED
    except Exception:
        # Python would end with 1, which here means "over policy".
        err().write(traceback.format_exc())
        say("This is a fault of syncwatch, and nothing was judged. Please report it with the lines above.")
        return EXIT_NOT_MEASURED
