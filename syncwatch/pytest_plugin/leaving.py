"""Speaks up, and not with exit code 0, when a watched test ends all of pytest by `os._exit` or `pytest.exit`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

import pytest

from syncwatch.errors import EXIT_NOT_MEASURED


@contextlib.contextmanager
def report_early_exit(item: pytest.Item) -> Iterator[None]:
    """Let the end of pytest inside the block say which test it was; a status of 0 becomes 3: nothing was judged."""
    plain, owner = os._exit, os.getpid()

    def _exit(status: int) -> NoReturn:
        if os.getpid() == owner:
            capture = item.config.pluginmanager.getplugin("capturemanager")
            if capture is not None:
                # What is captured is lost with the process.
                capture.suspend_global_capture()
            sys.stderr.write(
                f"error: {item.nodeid} ended pytest with os._exit({status}), so that neither it nor the tests after it "
                "were judged. Let it return, or call os._exit in a child.\n"
            )
            sys.stderr.flush()
            status = status or EXIT_NOT_MEASURED
        plain(status)

    os._exit = _exit
    try:
        yield
    except pytest.exit.Exception as end:
        if end.returncode != 0:
            raise
        said = f"{end.msg} (in {item.nodeid}, so that neither it nor the tests after it were judged)"
        raise pytest.exit.Exception(said, returncode=EXIT_NOT_MEASURED) from end
    finally:
        if os._exit is _exit:
            os._exit = plain
