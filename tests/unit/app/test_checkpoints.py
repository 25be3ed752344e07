"""A checkpoint that cannot be made ends neither the run nor the checkpoints after it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from syncwatch.app import checkpoints
from syncwatch.app.checkpoints import Checkpoints
from syncwatch.model.session import Session


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
