"""Answers: what holds for the code that runs now? Ranges, step and permission of this thread or asyncio task."""

from __future__ import annotations

from contextvars import ContextVar

RANGES: ContextVar[tuple[str, ...]] = ContextVar("syncwatch_ranges", default=())
"""Names of the NVTX ranges around the running code, outermost first."""

STEPS: ContextVar[tuple[tuple[object, int], ...]] = ContextVar("syncwatch_steps", default=())
"""Recorder and number of every step around the running code, innermost last."""

ALLOWED: ContextVar[str | None] = ContextVar("syncwatch_allowed", default=None)
"""The reason of the innermost `syncwatch.allow` around the running code."""
