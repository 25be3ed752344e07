"""Writes the file that a person opens in a browser to see where the CPU stood still, without a network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from syncwatch.model.analysis import AnalysedRecording, Analysis, StepsWithout
from syncwatch.model.report import Report
from syncwatch.model.verdict import Verdict
from syncwatch.report.html.lanes import lanes_of
from syncwatch.report.html.packing import Packer, printable, to_json
from syncwatch.report.html.page import page_of
from syncwatch.report.html.rows import short_place
from syncwatch.report.html.thinning import DrawnRecording, thin_out

_HERE = Path(__file__).parent

VENDORED = ("dispatch", "timer", "color", "interpolate", "ease", "selection", "transition", "drag", "zoom", "array")
"""Modules of d3, each before those that need it."""
_SCRIPTS = ("data", "words", "layout", "hits", "colours", "paint", "detail", "timeline", "tables", "page")
"""In the order they need each other."""


@cache
def page_script() -> str:
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
        f"default-src 'none'; script-src {_hash(page_script())}; style-src {_hash(style())}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


MAX_EVENTS = 50_000
"""What a browser draws at once without a pause (docs/adr/0007)."""

MAX_RECORDINGS = 12
"""Drawn below one another; a canvas of more lanes than this would be higher than browsers hold (32,767 pixels)."""


class HtmlReporter:
    """Renders a self-contained page: its style, script and data are inlined, and its policy fetches nothing."""

    suffix: ClassVar[str] = ".html"

    def __init__(
        self,
        verdict: Verdict | None = None,
        analysis: Analysis | None = None,
        *,
        max_events: int = MAX_EVENTS,
    ) -> None:
        """Set up.

        Args:
            verdict: what a gate said; None where nothing was judged.
            analysis: with the waits behind the report; without it there is no timeline.
            max_events: events drawn of all recordings together; larger ones are thinned, and the page says so.
        """
        self._verdict = verdict
        self._analysis = analysis
        self._without = () if analysis is None else analysis.without()
        self._max_events = max_events

    def render(self, report: Report) -> str:
        """Return the page."""
        drawn = self._drawn()
        session = None if self._analysis is None else self._analysis.session
        return _template().render(
            page=page_of(report, self._verdict, session, drawn, self._without[: len(drawn)]),
            data=to_json(self._packed(drawn)) if drawn else None,
            style=style(),
            script=page_script(),
            policy=policy(),
        )

    def _drawn(self) -> tuple[DrawnRecording, ...]:
        if self._analysis is None:
            return ()
        known = self._analysis.recordings[:MAX_RECORDINGS]
        laid = [(each.recording, lanes_of(each.recording), each.waits) for each in known]
        sizes = [sum(len(lane.blocks) for lane in lanes) + len(waits) for _, lanes, waits in laid]
        # Each gets the part of the budget that its size asks for.
        part = min(1.0, self._max_events / max(1, sum(sizes)))
        return tuple(
            thin_out(recording, lanes, waits, max(1, int(size * part)))
            for (recording, lanes, waits), size in zip(laid, sizes, strict=True)
        )

    def _packed(self, drawn: Sequence[DrawnRecording]) -> dict[str, Any]:
        packer = Packer()
        recordings = self._analysis.recordings if self._analysis is not None else ()
        packed = [
            packer.recording(each.recording, seen, self._named(index, each))
            for index, (each, seen) in enumerate(zip(recordings, drawn, strict=False))
        ]
        return packer.page(packed)

    def _named(self, index: int, known: AnalysedRecording) -> list[tuple[str, StepsWithout]]:
        """Return the steps that are drawn without a line of a recording, with what the line is called there."""
        found = self._without[index] if index < len(self._without) else ()
        return [(short_place(known.summary.sites[each.site]), each) for each in found]


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["shown"] = printable
    environment.filters["figure"] = _figure
    return environment.get_template("page.html.j2")


def _figure(value: float | None) -> str:
    """Return what a column is sorted by; nothing where it was not measured, which sorts last."""
    return "" if value is None else repr(value)
