"""Answers: how is an export of ours refused that does not give its session back?"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from syncwatch.errors import SessionError

_LONGEST_REASON = 160


@contextmanager
def refusing_damage(path: Path) -> Iterator[None]:
    """Turn what goes wrong while the export at `path` is put together into a sentence.

    Raises:
        SessionError: where rows are missing, have other types than were written, or are of another version.
    """
    try:
        yield
    except (msgspec.DecodeError, ValueError, LookupError, TypeError) as error:
        raise SessionError(
            f"{path} is a damaged export of syncwatch: {_reason(error)}. Export it again with `syncwatch export`."
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, LookupError | TypeError):
        return "a row points at something that is not there"
    # What the decoder quotes from the file may be of any length.
    return textwrap.shorten(str(error), _LONGEST_REASON, placeholder=" ...")
