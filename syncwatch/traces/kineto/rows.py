"""Answers: what is one row of a Chrome trace? The fields that count, checked for their types while they are decoded."""

from __future__ import annotations

from decimal import Decimal

import msgspec

_NOTHING = msgspec.Raw(b"{}")


class Row(msgspec.Struct, gc=False):
    """A row as it stands in the file; times are microseconds, and decimals, so that none is rounded."""

    ph: str = ""
    cat: str = ""
    name: str = ""
    pid: int | str | None = None
    tid: int | str | None = None
    ts: Decimal | None = None
    dur: Decimal | None = None
    args: msgspec.Raw = _NOTHING
    """Decoded where it is needed: of most rows it is the greater part, and not read."""


_rows = msgspec.json.Decoder(list[Row])
_raws = msgspec.json.Decoder(list[msgspec.Raw])
_row = msgspec.json.Decoder(Row)


def decode_rows(raw: bytes) -> tuple[list[Row], int]:
    """Return the rows of a JSON array, and how many more were no rows, such as a name that is a number.

    Raises:
        msgspec.DecodeError: if it is no JSON.
    """
    try:
        return _rows.decode(raw), 0
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        pass
    each = _raws.decode(raw)
    found = [row for row in map(_sound, each) if row is not None]
    return found, len(each) - len(found)


def _sound(raw: msgspec.Raw) -> Row | None:
    try:
        return _row.decode(raw)
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        return None
