"""Watches a program that a test plays to a fake CUPTI, and tells what of it has a line."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from syncwatch.model.session import Recording
from syncwatch.sense import active
from syncwatch.sense.cuda import runtime_calls
from syncwatch.sense.cuda.one_run import OneRun
from syncwatch.sense.cuda.sync_warnings import MESSAGE
from syncwatch.sense.recorder import Recorder


@contextmanager
def watching(*, times: bool = True) -> Iterator[OneRun]:
    """Watch what is played inside."""
    run = OneRun(Recorder(now_ns=time.time_ns), times)
    active.push(run.recorder)
    try:
        with run.on():
            yield run
    finally:
        active.pop(run.recorder)


def torch_warns() -> None:
    """Warn of a wait as torch does."""
    warnings.warn(MESSAGE, UserWarning, stacklevel=1)


def codes(recording: Recording) -> list[str | None]:
    """Return the innermost line of each wait."""
    return [
        None if each.stack is None else recording.frames[recording.stacks[each.stack][0]].code
        for each in recording.syncs
    ]


def failing_look(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let the look at each call raise `error`, in code of the sensor."""
    names: dict[str, object] = {"error": error}
    exec(compile("def fails(_frame):\n    raise error", runtime_calls.__file__, "exec"), names)
    monkeypatch.setattr(runtime_calls, "nearest_frame", names["fails"])
