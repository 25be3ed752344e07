"""The records of a sweep and their file, and how two sweeps compare: by size, layout, type and kind of memory."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from syncwatch.errors import SessionError
from syncwatch.model.codec import write_bytes


class CaseResult(msgspec.Struct, frozen=True):
    """What one case did."""

    waits: dict[str, int] = {}
    """Kind of wait to how often."""
    copies: dict[str, int] = {}
    """`d2h pinned`, `h2d pageable`, ... to how often."""


class SweepOperator(msgspec.Struct):
    """What the cases of one operator did."""

    name: str
    cases: dict[str, CaseResult] = {}
    signatures: dict[str, str] = {}
    """Shapes of the sample, by group."""
    failed: dict[str, str] = {}
    stopped: dict[str, str] = {}
    """Cases that were not tried, and why."""
    broke: str = ""
    """The case after which the process was of no use."""


class Sweep(msgspec.Struct):
    """What every operator did on one device."""

    device: str = ""
    gpu: str | None = None
    torch: str = ""
    wall_s: float = 0.0
    operators: dict[str, SweepOperator] = {}

    @classmethod
    def load(cls, path: Path) -> Sweep:
        """Read the sweep at `path`.

        Raises:
            SessionError: if it cannot be read, or is none.
        """
        advice = "Make one with syncwatch probe --sizes -o."
        try:
            raw = path.read_bytes()
            found = msgspec.json.decode(gzip.decompress(raw) if path.suffix == ".gz" else raw, type=cls)
        except OSError as error:
            raise SessionError(f"Cannot read {path}: {error.strerror or error}. {advice}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, EOFError, zlib.error) as error:
            raise SessionError(f"{path} is not a sweep: {error}. {advice}") from error
        if not found.device:
            raise SessionError(f"{path} is not a sweep. {advice}")
        return found

    def save(self, path: Path) -> None:
        """Write the sweep to `path` in one piece, compressed where the name ends in .gz.

        Raises:
            OSError: if it cannot be written.
        """
        raw = msgspec.json.format(msgspec.json.encode(self), indent=0) + b"\n"
        write_bytes(gzip.compress(raw, mtime=0) if path.suffix == ".gz" else raw, path)

    def counts(self) -> Counter[str]:
        """Return how many `cases` ran, how many are `waiting`, have `failed` and were `stopped`."""
        found: Counter[str] = Counter()
        for each in self.operators.values():
            found["cases"] += len(each.cases)
            found["waiting"] += sum(bool(case.waits) for case in each.cases.values())
            found["failed"] += len(each.failed)
            found["stopped"] += len(each.stopped)
        return found


SHIPPED = Path(__file__).with_name("sweep_h200.json.gz")
"""What every operator did on an H200 with torch 2.11."""


@dataclass(slots=True)
class SweepComparison:
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


def compare(known: Sweep, found: Sweep, only: str = "") -> SweepComparison:
    """Hold `found` against `known`, the operators that have `only` in their names."""
    comparison = SweepComparison()
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


def _judge(case: str, did: CaseResult, there: SweepOperator, here: SweepOperator) -> tuple[str, str]:
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


def comparison_table(comparison: SweepComparison) -> Iterator[str]:
    """Yield the lines of a table in Markdown: the families, and all."""
    yield "| | cases | agreement | recall | precision | crashed | not compared |"
    yield "|---|---|---|---|---|---|---|"
    for name in sorted(comparison.families):
        yield _row(name, comparison.families[name])
    yield _row("all", comparison.total)


def summary(comparison: SweepComparison) -> Iterator[str]:
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
