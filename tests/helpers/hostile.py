"""Names that could break an output format, and reports in which every name is one of them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from syncwatch.model.events import Step
from syncwatch.model.report import Report
from syncwatch.pipeline import report_of
from tests.helpers.fakes import MS, Stacks, frame, recording, session, sync

NASTY = (
    "\"quoted\" 'twice'",
    "<b>bold</b> & <script>alert(1)</script>",
    "two\nlines\r\nthree",
    "::error file=x,line=1::owned",
    "100%25 %0A::stop-commands::x",
    "]]>",
    "<![CDATA[",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "\udc80lone\ud800",
    "\x00nul\x08\x0b\ufffe\uffff",
    "\u202eright to left",
    "`` ` ``` ",
    "a|b\\|c\\\\|d",
    "[link](javascript:alert(1)) ![](x)",
    "&amp; &#0; &lt;",
    "",
    " ",
    "-->",
    "../../../etc/passwd",
    "//host/share",
    "C:\\Users\\name",
    "x" * 10_000,
    "\n" * 200,
    "漢字 🧵 é",
)

NAMES = st.one_of(st.sampled_from(NASTY), st.text(st.characters(), max_size=40))
"""Draws any text, one of `NASTY` or random, with lone surrogates and control characters."""


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """Draw a report whose every name is hostile."""
    stacks = Stacks()
    first = stacks.add(
        frame(draw(NAMES), draw(st.none() | NAMES), file=draw(NAMES), line=draw(lines), function=draw(NAMES))
    )
    second = stacks.add(frame(draw(NAMES), None, file=draw(NAMES), line=7, function=draw(NAMES)))
    syncs = [
        sync(0, stack=first, at=(0, 1000)),
        replace(sync(0, stack=second, op=draw(NAMES), at=(1000, 2000)), allowed=draw(st.none() | NAMES)),
        replace(sync(0, stack=None, at=(2000, 3000)), api=draw(NAMES)),
    ]
    plain = recording(draw(NAMES), syncs=syncs, stacks=stacks, steps=[Step(0, False, 0, MS)], notes=(draw(NAMES),))
    ranged = replace(
        plain,
        range_stacks=((draw(NAMES), draw(NAMES)),),
        syncs=tuple(replace(each, within=0) for each in plain.syncs),
    )
    complete = draw(st.booleans())
    known = session(ranged, target=draw(NAMES), complete=complete, missing=() if complete else (draw(NAMES),))
    return report_of(replace(known, parameters={draw(NAMES): draw(NAMES)}))


lines = st.integers(min_value=0, max_value=2**31)
