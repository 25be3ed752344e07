"""The cause given to a wait that no rule explains (SW900)."""

from __future__ import annotations

from syncwatch.attribute.causes.base import Cause

UNCLASSIFIED = Cause(
    code="SW900",
    title="the host waits, and no rule says why",
    hint="the line is right; please report it with the operator, so that the next version can name the cause.",
    what_it_does="A synchronization that was seen, but fits none of the known causes.",
    why_it_waits="Unknown. It is counted and priced like any other.",
    example="unknown_op(x)",
    use_instead="# split the line, and see which part of it waits",
)
