"""Finds the rules of the policy that speak of nothing in this run, or of what nobody could see.

That nothing waited where a rule points is as it should be, and is not said. That no such range, file or sensor
took part is: a name that is spelled wrong looks the same as health.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from syncwatch.judge.policy import matches_path
from syncwatch.model.finding import NO_LINE, Report, Variant
from syncwatch.model.session import DeviceKind, Recorder
from syncwatch.model.verdict import Level, Policy, Reason, Rule, Ruling, Severity

_ALLOCATOR, _LIBRARY = "SW6", "SW502"
_SEE_LIBRARIES = frozenset({"runtime_calls", "cupti"})
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Files:
    """What is known of the files of a run."""

    took_part: Collection[str]
    """Those that were imported, or are recorded."""
    elsewhere: Collection[str] = ()
    """Others that rules may allow to wait: another program of the project runs them."""


def judge_rules(report: Report, variants: Sequence[Variant], policy: Policy, files: Files | None) -> Iterator[Ruling]:
    """Yield a ruling for each rule that could match nothing in this run.

    Args:
        report: what was found.
        variants: those that are judged.
        policy: with the rules.
        files: of the run; None where they are not known, as of a saved one.
    """
    yield from _ranges(variants, policy)
    if files is not None:
        yield from _paths(report, policy, files)
    for variant in variants:
        yield from _causes(report, variant, policy)


def _ranges(variants: Sequence[Variant], policy: Policy) -> Iterator[Ruling]:
    names = dict.fromkeys(name for variant in variants for name in _entered(variant))
    for rule in policy.ranges:
        if not any(fnmatchcase(name, rule.pattern) for name in names):
            # Our own steps are in every list, and are nobody's slip of the pen.
            shown = [f'"{name}"' for name in names if not name.startswith("syncwatch.")][:_SHOWN]
            had = f"the run had {', '.join(shown)}" if shown else "the run had no range of its own"
            said = f"No range that {_named('ranges', rule)} matches was entered in this run; {had}."
            yield _unmatched(said, policy)


def _entered(variant: Variant) -> Iterator[str]:
    yield from variant.ranges
    for site in (*variant.sites, *variant.outside_sites):
        yield from site.ranges


def _paths(report: Report, policy: Policy, files: Files) -> Iterator[Ruling]:
    known = {*files.took_part, *(site.file for site in report.places if site.file != NO_LINE)}
    for rule in policy.paths:
        may = known if rule.level is Level.DISALLOW else known.union(files.elsewhere)
        if not any(matches_path(file, rule.pattern) for file in may):
            said = f"No file that {_named('paths', rule)} matches took part in this run."
            yield _unmatched(said, policy)


def _causes(report: Report, variant: Variant, policy: Policy) -> Iterator[Ruling]:
    unseen = dict(_unseen(report, variant))
    for rule in policy.causes:
        what = next((phrase for code, phrase in unseen.items() if rule.pattern.startswith(code)), None)
        if what is None or rule.level is Level.ALLOW or not variant.steps:
            continue
        said = (
            f"{variant.name}: {_named('causes', rule)} was not judged, since {what} are not seen here. "
            "Judge it on a GPU, with CUPTI free: --device cuda."
        )
        if rule.level is Level.DISALLOW or policy.strict:
            yield Ruling(Severity.FAIL, Reason.UNMEASURED, said, said, variant.name)
        else:
            yield Ruling(Severity.WARN, Reason.NOT_JUDGED, said, said, variant.name)


def _unseen(report: Report, variant: Variant) -> Iterator[tuple[str, str]]:
    """Yield the codes of causes that no sensor of this run could see, with what they are."""
    if variant.per_step.allocator_calls is None:
        yield _ALLOCATOR, "calls of the allocator"
    hooks_alone = report.recorder is Recorder.SYNCWATCH and _SEE_LIBRARIES.isdisjoint(variant.coverage.sensors)
    if report.device is DeviceKind.VIRTUAL or hooks_alone:
        yield _LIBRARY, "waits of libraries under torch"


def _named(table: str, rule: Rule) -> str:
    return f'{table}."{rule.pattern}" = "{rule.level.value}"'


def _unmatched(said: str, policy: Policy) -> Ruling:
    severity = Severity.FAIL if policy.strict else Severity.WARN
    return Ruling(severity, Reason.UNMATCHED_RULE, said, said)
