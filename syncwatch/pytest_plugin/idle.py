"""What is said of a watched test in which nothing could have waited, since it never came to the GPU."""

from __future__ import annotations

import re
from pathlib import Path

from syncwatch.pytest_plugin.asked import Asked

_GPU = re.compile(r"cuda|gpu|nvidia|accelerator", re.IGNORECASE)
_MAX_PLACES = 2
_NEXT = "Run pytest with --syncwatch-device virtual, which puts the virtual device on before anything is imported"


def idle_sentence(asked_by: str, path: Path, asked: Asked) -> str:
    """Return why a test that `asked_by` watches fails although nothing in it waited, and what to do."""
    said = f"{asked_by}: the test never used the GPU (no kernel, copy, wait or allocation), so nothing was judged."
    places = _places(path, asked)
    if places:
        return f"{said} Before the virtual device was on, {places} was answered no. {_NEXT}, or ask inside the test."
    return f'{said} Put its tensors on device="cuda", or take {asked_by} off it.'


def skipped_for_want_of_a_gpu(reason: str, path: Path, asked: Asked) -> str | None:
    """Return what to say of a watched test that was skipped for `reason`, if that answer is to blame; else None."""
    places = _places(path, asked)
    if not places or not (_GPU.search(reason) or reason.endswith("unconditional skip")):
        return None
    return (
        f"A watched test was skipped for want of a GPU ({reason}), so nothing was judged. "
        f"Before the virtual device was on, {places} was answered no. {_NEXT}."
    )


def _places(path: Path, asked: Asked) -> str:
    """Return who asked, the test's own module first."""
    known = sorted(asked.places, key=lambda place: f"{path.name}:" not in place)
    return " and ".join(known[:_MAX_PLACES])
