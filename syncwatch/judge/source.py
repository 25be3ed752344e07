"""What a line of source says, apart from its layout and its comment.

Not with `tokenize`: it refuses half a statement, and splits f-strings from Python 3.12 on, so that a baseline written
by one Python would not hold for another.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""
    (?P<comment> \#.* )
    | (?P<string> ''' .*? (?:'''|$) | \"\"\" .*? (?:\"\"\"|$) | '(?:\\.|[^'\\])*'? | "(?:\\.|[^"\\])*"? )
    | (?P<word> \w+ )
    | (?P<blank> \s+ )
    | (?P<mark> . )
    """,
    re.VERBOSE | re.DOTALL,
)


def normalised(line: str) -> str:
    """Return `line` without its comment and without blanks, except in strings and between two words."""
    parts: list[str] = []
    spaced = False
    for token in _TOKEN.finditer(valid(line)):
        if token.lastgroup == "blank":
            spaced = True
        elif token.lastgroup != "comment":
            if spaced and parts and _grow_together(parts[-1], token.group()):
                parts.append(" ")
            parts.append(token.group())
            spaced = False
    return "".join(parts)


def comment_of(line: str) -> str | None:
    """Return the comment at the end of `line`, with its `#`."""
    for token in _TOKEN.finditer(line):
        if token.lastgroup == "comment":
            return token.group()
    return None


def valid(text: str) -> str:
    """Return `text` with lone surrogates replaced: file names may bring them, and no file of UTF-8 can hold them."""
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode("utf-8")


def _grow_together(before: str, after: str) -> bool:
    return (before[-1].isalnum() or before[-1] in "_'\"") and (after[0].isalnum() or after[0] in "_'\"")
