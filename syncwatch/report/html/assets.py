"""What is inlined in the page, and what its security policy lets run: exactly that, by its hash."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent

VENDORED = ("dispatch", "timer", "color", "interpolate", "ease", "selection", "transition", "drag", "zoom", "array")
"""Modules of d3, each before those that need it."""
_SCRIPTS = ("data", "words", "layout", "hits", "colours", "paint", "detail", "timeline", "tables", "page")
"""In the order they need each other."""


@cache
def script() -> str:
    """Return everything that the page runs, the licences of the library first."""
    licences = "\n\n".join(path.read_text(encoding="utf-8") for path in sorted((_HERE / "vendor").glob("LICENSE*")))
    library = "".join(_read(f"vendor/d3-{name}.min.js") for name in VENDORED)
    own = "\n".join(_read(f"js/{name}.js") for name in _SCRIPTS)
    return f'/*!\n{licences}\n*/\n{library}(() => {{\n"use strict";\n{own}\n}})();\n'


@cache
def style() -> str:
    """Return the style sheet."""
    return _read("page.css")


@cache
def policy() -> str:
    """Return the content security policy: nothing is fetched, and nothing runs but what is in the page."""
    return (
        f"default-src 'none'; script-src {_hash(script())}; style-src {_hash(style())}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
