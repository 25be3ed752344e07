"""Compares two sweeps: the cases that wait in only one of them, and how far they agree by layout and type."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from syncwatch.bench.probing.sweep import CaseResult, Operator, Sweep


@dataclass(slots=True)
class Comparison:
    """How far a sweep agrees with a known one."""

    total: Counter[str] = field(default_factory=Counter)
    """Outcome to cases: `hit`, `quiet`, `missed`, `invented`, `crashed`; not compared: `cost`, `shapes`, `absent`."""
    families: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    rows: list[str] = field(default_factory=list)
    """A line for each case that differs."""
    operators: Counter[str] = field(default_factory=Counter)
    """`compared`, `agreeing` in every case, `waiting` there, `found` of these, and `named` here."""

    @property
    def agrees(self) -> bool:
        """Return whether nothing was missed, invented or crashed."""
        return not (self.total["missed"] or self.total["invented"] or self.total["crashed"])


def compare(known: Sweep, found: Sweep, only: str = "") -> Comparison:
    """Hold `found` against `known`, the operators that have `only` in their names."""
    comparison = Comparison()
    for name, there in sorted(known.operators.items()):
        if only not in name or name not in found.operators:
            continue
        mine: Counter[str] = Counter()
        for case, did in there.cases.items():
            outcome, row = _judge(case, did, there, found.operators[name])
            mine[outcome] += 1
            comparison.rows += [f"{name}: {row}"] if row else []
            for family in _families(case):
                comparison.families[family][outcome] += 1
        comparison.total += mine
        comparison.operators += _of_operator(mine)
    return comparison


def _of_operator(mine: Counter[str]) -> Counter[str]:
    wrong = mine["missed"] + mine["invented"] + mine["crashed"]
    return Counter(
        compared=bool(wrong + mine["hit"] + mine["quiet"]),
        agreeing=bool(not wrong and mine["hit"] + mine["quiet"]),
        waiting=bool(mine["hit"] or mine["missed"]),
        found=bool(mine["hit"]),
        named=bool(mine["hit"] or mine["invented"]),
    )


def _judge(case: str, did: CaseResult, there: Operator, here: Operator) -> tuple[str, str]:
    """Return what came of a case, and a line where it differs."""
    if case in here.stopped:
        return "cost", ""
    if case in here.failed:
        return "crashed", f"CRASHED {case}: {here.failed[case]}"
    if case not in here.cases:
        return "absent", ""
    group = case.rpartition("|")[0]
    if there.signatures.get(group) != here.signatures.get(group):
        return "shapes", ""
    mine = here.cases[case]
    if bool(did.waits) == bool(mine.waits):
        return ("hit" if did.waits else "quiet"), ""
    mark = "missed" if did.waits else "invented"
    return mark, f"{mark.upper()} {case}: {did.waits} {did.copies} there, {mine.waits} {mine.copies} here"


def _families(case: str) -> tuple[str, str, str]:
    parts = case.split("|")
    typed, layout = (parts[2], parts[3]) if len(parts) > 3 else ("hand", "hand")
    return f"layout {layout}", f"type {typed}", "backward" if "|backward|" in case else "forward"


def table(comparison: Comparison) -> Iterator[str]:
    """Yield the lines of a table in Markdown: the families, and all."""
    yield "| | cases | agreement | recall | precision | crashed | not compared |"
    yield "|---|---|---|---|---|---|---|"
    for name in sorted(comparison.families):
        yield _row(name, comparison.families[name])
    yield _row("all", comparison.total)


def summary(comparison: Comparison) -> Iterator[str]:
    """Yield what is to be said of operators, and of cases that were not compared."""
    of, total = comparison.operators, comparison.total
    yield (
        f"operators: {of['agreeing']} of {of['compared']} agree in every case; of {of['waiting']} that wait somewhere "
        f"{of['found']} do here; {of['named']} wait here."
    )
    yield (
        f"not compared: {total['cost']} for their cost, {total['shapes']} with other samples, {total['absent']} not run"
    )


def _row(name: str, counts: Counter[str]) -> str:
    hits, quiet, missed, invented = (counts[each] for each in ("hit", "quiet", "missed", "invented"))
    cases = hits + quiet + missed + invented
    shares = (_share(hits + quiet, cases), _share(hits, hits + missed), _share(hits, hits + invented))
    left_out = counts["cost"] + counts["shapes"] + counts["absent"]
    return f"| {name} | {cases} | {' | '.join(shares)} | {counts['crashed']} | {left_out} |"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else ""
