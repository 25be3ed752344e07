"""Answers: what did old kineto write that is no JSON? Mends it line by line: it writes each row over several lines.

Names with `"` were not escaped before pytorch/kineto#1459, and a copy of no length had a bandwidth of `inf`.
"""

from __future__ import annotations

import json
import re
from typing import IO

_LINE = 1 << 16
"""The longest line that is mended; kineto's are far shorter, and a file on one line is not kineto's."""
_NAMED = (
    re.compile(rb'(?P<before>.*?"name": )"(?P<name>.*)"(?P<after>, "pid": .*)', re.DOTALL),
    re.compile(rb'(?P<before>\s*"name": )"(?P<name>.*)"(?P<after>,?\s*)', re.DOTALL),
)
"""As in 2021 to 2025, and as in torch 2.13."""
_NO_NUMBER = re.compile(rb'(?<=": )-?(?:nan|inf|NaN|Infinity)(?=[,\s}])')
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')


class Mending:
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
    match = next(filter(None, (pattern.fullmatch(line) for pattern in _NAMED)), None)
    if match is not None:
        line = match["before"] + _quoted(match["name"].decode("utf-8", errors="replace")) + match["after"]
    return _NO_NUMBER.sub(b"null", line)


def _quoted(name: str) -> bytes:
    """Return JSON of the name behind what was written: escapes are resolved, anything else stands for itself."""
    meant = _ESCAPE.sub(lambda escape: str(json.loads(f'"{escape.group()}"')), name)
    return json.dumps(meant.encode("utf-8", errors="replace").decode("utf-8"), ensure_ascii=False).encode("utf-8")
