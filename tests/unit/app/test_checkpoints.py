"""A checkpoint that cannot be made ends neither the run nor the checkpoints after it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from syncwatch.app import checkpoints
from syncwatch.app.checkpoints import Checkpoints
from syncwatch.model.session import DeviceKind, Environment, Session


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_checkpoint_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_FIRST_S", 0.001)
    asked: list[None] = []
    again = threading.Event()

    def snapshot() -> Session | None:
        asked.append(None)
        if len(asked) == 1:
            raise SystemError("bad argument to internal function")
        again.set()
        return None

    with Checkpoints(tmp_path / "run.json", snapshot).periodically():
        assert again.wait(timeout=60)


def session() -> Session:
    environment = Environment(torch="2.13", triton=None, gpu=None, driver=None, python="3.11", syncwatch="0")
    return Session("program", DeviceKind.VIRTUAL, environment, (), outputs_equal=None, complete=True)


def test_a_run_that_is_whole_is_written_at_once_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_FIRST_S", 3600)
    whole, written = session(), threading.Semaphore(0)
    monkeypatch.setattr(checkpoints, "write_run", lambda *_: written.release())

    kept = Checkpoints(tmp_path / "run.json", lambda: whole)
    with kept.periodically():
        kept.hurry()
        assert written.acquire(timeout=60)
        kept.write()
        kept.write()

    assert not written.acquire(blocking=False)
