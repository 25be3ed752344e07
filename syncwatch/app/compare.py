"""Makes two saved runs into a comparison of them. Lines are known by the key that a baseline has for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from syncwatch.analyse.compare_runs import ComparedRun, compare_runs
from syncwatch.app.report import open_run
from syncwatch.errors import UsageError
from syncwatch.judge.baseline import key_of
from syncwatch.model.run_comparison import RunComparison


def run_comparison_of(
    before: Path, after: Path, variants: Sequence[str] = (), step_range: str | None = None
) -> RunComparison:
    """Return what changed from the run in the file `before` to that in `after`.

    Args:
        before: a file that `syncwatch run -o` wrote, a session, or a trace that `opening` knows.
        after: another.
        variants: `NAME` for a variant of that name in both, or `BEFORE:AFTER`; empty for every name that both have, or
            else the processes of two traces in their order, or else the last of each.
        step_range: what marks a step of a trace; runs of ours know their steps.

    Raises:
        SessionError: if a file is neither.
        UsageError: if a run has no variant of a name.
        NotMeasuredError: if there is nothing to compare.
    """
    pairs = [_pair(words) for words in variants]
    old, new = _run(before, step_range), _run(after, step_range)
    return compare_runs(old, new, tuple(dict.fromkeys(pairs)) or _by_order(old, new), key_of)


def _run(path: Path, step_range: str | None) -> ComparedRun:
    return ComparedRun(str(path), open_run(path, step_range))


def _by_order(before: ComparedRun, after: ComparedRun) -> tuple[tuple[str, str], ...]:
    """Return the processes of two traces in pairs, if they are as many: their numbers differ, and not their ranks."""
    old, new = ([each.name for each in run.report.processes] for run in (before, after))
    if set(old) & set(new) or len(old) != len(new):
        return ()
    return tuple(zip(old, new, strict=True))


def _pair(words: str) -> tuple[str, str]:
    before, named, after = words.partition(":")
    if not before or (named and not after):
        raise UsageError(f"--variant {words} names no variant. Write it as --variant NAME or --variant BEFORE:AFTER.")
    return before, after if named else before
