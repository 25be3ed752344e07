"""Answers: how does text go into the file? Names once, by number; facts as JSON; what is no Unicode replaced."""

from __future__ import annotations

from typing import Any

import msgspec

from syncwatch.model.codec import encode


class Strings:
    """The table StringIds: every name stands once."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def id_of(self, text: str) -> int:
        """Return the number of `text`."""
        return self._ids.setdefault(text, len(self._ids) + 1)

    def rows(self) -> list[tuple[int, str]]:
        """Return every number with its text."""
        # File names that are no UTF-8 come from the system with lone surrogates, which SQLite cannot hold.
        return [(number, text.encode("utf-8", "replace").decode()) for text, number in self._ids.items()]


def json_of(record: Any) -> str:
    """Return `record` as JSON."""
    try:
        return msgspec.json.encode(record).decode()
    except UnicodeEncodeError:
        return encode(record).decode()
