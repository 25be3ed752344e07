"""Reads a Chrome trace file, as kineto writes it: its keys, and its rows block by block, never the whole at once.

What old kineto wrote is mended line by line where it is no JSON: names with `"` were not escaped before
pytorch/kineto#1459, and a copy of no length had a bandwidth of `inf`.

Imports of torch.profiler's traces and exports of ours on their way back are both read here.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, cast

import msgspec

from syncwatch.errors import SessionError
from syncwatch.traces.files import refusing, unpacked

_LINE = 1 << 16
"""The longest line that is mended; kineto's are far shorter, and a file on one line is not kineto's."""
_NAME = b'"name": "'
_PROCESS = b'", "pid": '
"""What followed the name on its line from 2021 to 2025; in torch 2.13 the name has a line of its own."""
_NO_NUMBER = re.compile(rb'(?<=": )-?(?:nan|inf|NaN|Infinity)(?=[,\s}])')
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')


class JsonRepair:
    """Reads `file` as it should have been written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Return about `size` bytes in whole lines, or all; none at the end."""
        mended: list[bytes] = []
        left = size
        while size < 0 or left > 0:
            line = self._file.readline(_LINE)
            if not line:
                break
            mended.append(_mended(line))
            left -= len(line)
        return b"".join(mended)


def _mended(line: bytes) -> bytes:
    if not line.isascii():
        line = line.decode("utf-8", errors="replace").encode("utf-8")
    start = line.find(_NAME) + len(_NAME)
    end = _name_end(line, start) if start >= len(_NAME) else -1
    if end >= start:
        line = line[: start - 1] + _quoted(line[start:end].decode("utf-8", errors="replace")) + line[end + 1 :]
    return _NO_NUMBER.sub(b"null", line)


def _name_end(line: bytes, start: int) -> int:
    """Return where the quote behind the name stands; -1 if the line is none of those that hold a free name."""
    if line[: start - len(_NAME)].strip():
        return line.rfind(_PROCESS)
    field = line.rstrip(b" ,\r\n")
    return len(field) - 1 if field.endswith(b'"') else -1


def _quoted(name: str) -> bytes:
    """Return JSON of the name behind what was written: escapes are resolved, anything else stands for itself."""
    meant = _ESCAPE.sub(lambda escape: str(json.loads(f'"{escape.group()}"')), name)
    return json.dumps(meant.encode("utf-8", errors="replace").decode("utf-8"), ensure_ascii=False).encode("utf-8")


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


_BLOCK = 1 << 20
_EVENTS = "traceEvents"
_BEGIN = re.compile(rb'"traceEvents"\s*:\s*\[')
_LONGEST_BEGIN = 64
"""Bytes that the beginning of the rows may lie over the end of a block, with room for blanks."""
_BETWEEN = re.compile(rb"\}\s*,(?=\s*\{)")
_CUTS = 8
"""Places between rows that are tried before more is read: what looks like one may lie in a name, or in arguments."""
_CUT_OFF, _GOES_ON = "truncated", "trailing characters"
"""How msgspec tells of too little and of too much; it has no other mark."""
_NEXT_STEP = "Give a .json or .json.gz that torch.profiler or `syncwatch export --format perfetto` wrote."


class Trace:
    """A Chrome trace file.

    Attributes:
        keys: what stands beside the rows: before them from the beginning, behind them once the rows were read.
        left_out: how many rows were none, once the rows were read.

    Raises:
        SessionError: if the file cannot be read or is no Chrome trace, here or while its rows are read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.keys: dict[str, msgspec.Raw] = {}
        self.left_out = 0
        with self._refusing(), self._open(mended=False) as file:
            self._begin(file)

    def rows(self) -> Iterator[Row]:
        """Yield each row, in the order of the file.

        Old kineto wrote names with bare quotes, and `nan` and `inf`, none of which is JSON. Where strict reading stops
        at such a thing, what follows is read with these mended.
        """
        seen = 0
        with self._refusing():
            try:
                for block in self._blocks(mended=False):
                    seen += len(block)
                    yield from block
                return
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass
            for block in self._blocks(mended=True):
                yield from block[seen:]
                seen = max(0, seen - len(block))

    def _blocks(self, *, mended: bool) -> Iterator[list[Row]]:
        """Yield the rows of each block; blocks are cut where a row ends, which the decoder itself tells."""
        self.left_out = 0
        with self._open(mended=mended) as file:
            opening, rest = self._begin(file)
            wanted = _BLOCK
            while True:
                more = file.read(wanted)
                data = rest + more
                if not more:
                    yield self._last(opening, data)
                    return
                found = _split(data)
                if found is None:
                    rest, wanted = data, len(data)
                    continue
                (rows, left_out), rest = found
                wanted = _BLOCK
                self.left_out += left_out
                yield rows

    def _begin(self, file: IO[bytes]) -> tuple[bytes, bytes]:
        """Read up to the rows; return what makes JSON of the rest when put before it, and what was read of the rest."""
        data, start = b"", 0
        while True:
            more = file.read(max(_BLOCK, len(data)))
            data += more
            if data.lstrip()[:1] == b"[":
                return b"[", data.lstrip()[1:]
            for match in _BEGIN.finditer(data, start):
                with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    self._note(data[: match.start()] + b'"traceEvents":[]}')
                    return b'{"traceEvents":[', data[match.end() :]
            if not more:
                self._note(data)
                raise SessionError(f"{self._path} is no trace: it has no {_EVENTS}. {_NEXT_STEP}")
            start = max(0, len(data) - _LONGEST_BEGIN)

    def _last(self, opening: bytes, data: bytes) -> list[Row]:
        raw = opening + data
        if opening != b"[":
            raw = bytes(self._note(raw))
        rows, left_out = _decode_rows(raw)
        self.left_out += left_out
        return rows

    def _note(self, raw: bytes) -> msgspec.Raw:
        """Note the keys of the object `raw`, and return its rows."""
        keys = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        rows = keys.pop(_EVENTS, msgspec.Raw(b"[]"))
        # Copies, so that no block is held.
        self.keys.update((key, msgspec.Raw(bytes(value))) for key, value in keys.items())
        return rows

    @contextlib.contextmanager
    def _open(self, *, mended: bool) -> Iterator[IO[bytes]]:
        with unpacked(self._path) as file:
            yield cast("IO[bytes]", JsonRepair(file)) if mended else file

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            with refusing(self._path, _NEXT_STEP):
                yield
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SessionError(f"{self._path} is no trace: {_reason(error)}. {_NEXT_STEP}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if _CUT_OFF in str(error):
        return "it is cut off"
    # A place in a block is none in the file.
    return re.sub(r" \(byte \d+\)| in position .*", "", str(error))


def _split(data: bytes) -> tuple[tuple[list[Row], int], bytes] | None:
    """Return the rows of `data` up to where one certainly ends, and the rest; None if more must be read.

    Raises:
        msgspec.DecodeError: if something in it is no JSON.
    """
    for end in _ends(data):
        found = _decoded(data[:end])
        if found is not None:
            return found, data[end:].lstrip()[1:]
    return None


def _decoded(rows: bytes) -> tuple[list[Row], int] | None:
    try:
        return _decode_rows(b"[" + rows + b"]")
    except msgspec.DecodeError as error:
        # Short of a bracket, this was no end of a row. Beyond the last bracket, this is what follows the rows.
        if any(reason in str(error) for reason in (_CUT_OFF, _GOES_ON)):
            return None
        raise


def _ends(data: bytes) -> Iterator[int]:
    """Yield where rows seem to end, the last ones first."""
    window, before = 1 << 12, len(data)
    tried = 0
    while before > 0 and tried < _CUTS:
        start = max(0, len(data) - window)
        for match in reversed(list(_BETWEEN.finditer(data, start, min(before + 64, len(data))))):
            if match.start() < before and tried < _CUTS:
                tried += 1
                yield match.start() + 1
        before, window = start, window * 8


_rows = msgspec.json.Decoder(list[Row])
_raws = msgspec.json.Decoder(list[msgspec.Raw])
_row = msgspec.json.Decoder(Row)


def _decode_rows(raw: bytes) -> tuple[list[Row], int]:
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
