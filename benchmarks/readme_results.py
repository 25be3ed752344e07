"""Reads the files in benchmarks/results/ for the blocks of figures in README.md and docs/."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from syncwatch.model.report import Report


class NotRecordedError(Exception):
    """The results of a block are missing, or have a form that is no longer read."""


class Results:
    """The files of one folder, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> Any:
        """Return what `name`.json holds.

        Raises:
            NotRecordedError: if there is no such file.
        """
        return json.loads(self._bytes(name))

    def report(self, name: str) -> Report:
        """Return the report in `name`.json.

        Raises:
            NotRecordedError: if there is no such file, or it has an older form.
        """
        try:
            return msgspec.json.decode(self._bytes(name), type=Report)
        except msgspec.ValidationError as error:
            raise NotRecordedError(f"{name}.json has an older form ({error}).") from error

    def date(self) -> str:
        """Return the day of the prices; reports have no date, and `gpu.sh` records all of them in the same run."""
        day: str = self.read("prices")["date"]
        return day

    def folder(self, name: str) -> Path:
        """Return the folder `name`, which holds one result a file.

        Raises:
            NotRecordedError: if it is missing or empty.
        """
        folder = self._folder / name
        if not any(folder.glob("*.json")):
            raise NotRecordedError(f"{name} is missing.")
        return folder

    def _bytes(self, name: str) -> bytes:
        path = self._folder / f"{name}.json"
        if not path.is_file():
            raise NotRecordedError(f"{path.name} is missing.")
        return path.read_bytes()


Block = Callable[[Results], str]
"""Makes the text of one block.

Raises:
    NotRecordedError: if its results are not there.
"""


def with_interval(ratio: float, ci95: Sequence[float]) -> str:
    """Return a ratio and its 95 % interval."""
    return f"{ratio:.3f} ({ci95[0]:.3f} to {ci95[1]:.3f})"


def short(version: str) -> str:
    """Return a version without its local part, such as `+cu130`."""
    return version.partition("+")[0]
