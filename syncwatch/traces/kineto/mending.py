"""Mends what old kineto wrote that is no JSON, line by line: it writes each row over several lines.

Names with `"` were not escaped before pytorch/kineto#1459, and a copy of no length had a bandwidth of `inf`.
"""

from __future__ import annotations

import json
import re
from typing import IO

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
