"""What a code scanner reads: SARIF 2.1.0, with the page of each cause as the help of its rule.

The names and meanings are those of https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html.
Structs of our own: `sarif-om` has had no release since 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec
from typing_extensions import assert_never

from syncwatch.model.codec import encode
from syncwatch.model.report import NO_LINE, Report, RuleHelp, Site
from syncwatch.model.session import DeviceKind, RecordedBy
from syncwatch.model.verdict import Reason, Severity, Verdict
from syncwatch.report import text
from syncwatch.report.entries import Entry, block_of, entries_of
from syncwatch.version import __version__

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A part of the log; what is None or empty is left out."""


class Message(Part, frozen=True, kw_only=True):
    """What a reader is told."""

    text: str
    markdown: str | None = None


class ArtifactLocation(Part, frozen=True, kw_only=True):
    """A file, relative to a folder that the reader knows."""

    uri: str | None = None
    uri_base_id: str | None = None
    description: Message | None = None


class Snippet(Part, frozen=True, kw_only=True):
    """The code itself."""

    text: str


class Region(Part, frozen=True, kw_only=True):
    """A line."""

    start_line: int
    snippet: Snippet | None = None


class PhysicalLocation(Part, frozen=True, kw_only=True):
    """A line of a file."""

    artifact_location: ArtifactLocation
    region: Region | None = None


class LogicalLocation(Part, frozen=True, kw_only=True):
    """A function."""

    fully_qualified_name: str
    kind: str = msgspec.field(default_factory=lambda: "function")


class Location(Part, frozen=True, kw_only=True):
    """Where a result is."""

    physical_location: PhysicalLocation | None = None
    logical_locations: tuple[LogicalLocation, ...] = ()


class Suppression(Part, frozen=True, kw_only=True):
    """Why a result does not count."""

    kind: str
    justification: str


class Configuration(Part, frozen=True, kw_only=True):
    """How bad a rule is by itself; `warning` where it is left out."""

    level: str


class Descriptor(Part, frozen=True, kw_only=True):
    """A rule."""

    id: str
    short_description: Message
    full_description: Message | None = None
    help: Message | None = None
    help_uri: str | None = None
    default_configuration: Configuration | None = None


class Driver(Part, frozen=True, kw_only=True):
    """The tool."""

    name: str
    version: str
    information_uri: str | None = None
    rules: tuple[Descriptor, ...] = ()


class Tool(Part, frozen=True, kw_only=True):
    """The tool and its extensions, of which we have none."""

    driver: Driver


class Result(Part, frozen=True, kw_only=True):
    """One finding."""

    rule_id: str
    rule_index: int
    level: str
    message: Message
    locations: tuple[Location, ...] = ()
    suppressions: list[Suppression]
    """An empty list says that it counts; the standard wants it on all results or on none."""
    partial_fingerprints: dict[str, str] = {}
    properties: dict[str, Any] = {}


class Notification(Part, frozen=True, kw_only=True):
    """What the tool says of its own run."""

    level: str
    message: Message


class Invocation(Part, frozen=True, kw_only=True):
    """One run of the tool."""

    execution_successful: bool
    tool_execution_notifications: tuple[Notification, ...] = ()


class AutomationDetails(Part, frozen=True, kw_only=True):
    """What tells this run from others of the same tool."""

    id: str


class Run(Part, frozen=True, kw_only=True):
    """One run of the tool with what it found."""

    tool: Tool
    invocations: tuple[Invocation, ...]
    original_uri_base_ids: dict[str, ArtifactLocation]
    automation_details: AutomationDetails
    results: list[Result]
    column_kind: str = msgspec.field(default_factory=lambda: "unicodeCodePoints")


class Log(Part, frozen=True, kw_only=True):
    """The whole file."""

    schema: str = msgspec.field(default_factory=lambda: SCHEMA, name="$schema")
    version: str = msgspec.field(default_factory=lambda: "2.1.0")
    runs: list[Run]


FINGERPRINT = "syncwatchSite/v1"
"""The name of our fingerprint; a new version means another way to make it."""

_ROOT = "SRCROOT"
_LIMIT = 2_000
_OF_THE_RUN = (Reason.UNMEASURED, Reason.UNWATCHED, Reason.REMARK)
"""What is said of the run, and not of a line or a file of it."""


class SarifReporter:
    """Renders a result for each line and each other thing that was said of a file.

    What could not be measured is a notification, and the run then was not successful. Allowed lines are suppressed
    results with their reason.
    """

    suffix: ClassVar[str] = ".sarif"

    def __init__(
        self, rules: Mapping[str, RuleHelp], fingerprint: Callable[[Site], str], verdict: Verdict | None = None
    ) -> None:
        """Set up.

        Args:
            rules: the help of each cause by its code.
            fingerprint: by what a line is known while the code around it moves.
            verdict: what a gate said; without one every line that waits is a warning, or a note if it was asked for.
        """
        self._rules = rules
        self._fingerprint = fingerprint
        self._verdict = verdict

    def render(self, report: Report) -> str:
        """Return the log as indented JSON."""
        entries = entries_of(report, self._verdict)
        results = [entry for entry in entries if entry.reason not in _OF_THE_RUN]
        of_the_run = [entry for entry in entries if entry.reason in _OF_THE_RUN]
        index = {rule: number for number, rule in enumerate(sorted({entry.rule for entry in results}))}
        run = Run(
            tool=Tool(
                driver=Driver(
                    name="syncwatch", version=__version__, rules=tuple(self._descriptor(rule) for rule in index)
                )
            ),
            invocations=(_invocation(of_the_run),),
            original_uri_base_ids={
                _ROOT: ArtifactLocation(
                    description=Message(text="The folder that the run was started in, or one of sys.path.")
                )
            },
            automation_details=AutomationDetails(id=f"syncwatch/{text.shown(report.target)}/"),
            results=[self._result(entry, index[entry.rule], report) for entry in results],
        )
        return encode(Log(runs=[run])).decode()

    def _descriptor(self, rule: str) -> Descriptor:
        known = self._rules.get(rule)
        if known is None:
            said = f"The gate says: {rule.replace('-', ' ')}."
            return Descriptor(id=rule, short_description=Message(text=said))
        return Descriptor(
            id=rule,
            short_description=Message(text=known.title),
            full_description=Message(text=known.summary),
            help=Message(text=known.markdown, markdown=known.markdown),
            help_uri=known.uri,
        )

    def _result(self, entry: Entry, index: int, report: Report) -> Result:
        message = text.crop_right(text.shown(entry.message), _LIMIT)
        site, block = entry.site, block_of(entry, report)
        return Result(
            rule_id=entry.rule,
            rule_index=index,
            level=_level(entry.severity),
            message=Message(text=message if block is None else f"{message}\n\n{block}"),
            locations=_locations(entry),
            partial_fingerprints={} if site is None else {FINGERPRINT: self._fingerprint(site)},
            suppressions=_suppressions(entry),
            properties=_properties(entry, report),
        )


def _invocation(entries: Sequence[Entry]) -> Invocation:
    said = tuple(
        Notification(
            level=_level(each.severity), message=Message(text=text.crop_right(text.shown(each.message), _LIMIT))
        )
        for each in entries
    )
    measured = all(each.reason is not Reason.UNMEASURED for each in entries)
    return Invocation(execution_successful=measured, tool_execution_notifications=said)


def _locations(entry: Entry) -> tuple[Location, ...]:
    site = entry.site
    functions = () if site is None else _logical(site)
    if entry.file is None:
        return (Location(logical_locations=functions),) if functions else ()
    snippet = Snippet(text=text.shown(site.source)) if site is not None and site.source else None
    place = PhysicalLocation(
        artifact_location=ArtifactLocation(uri=uri_of(entry.file), uri_base_id=_ROOT),
        region=Region(start_line=entry.line, snippet=snippet) if entry.line and entry.line > 0 else None,
    )
    return (Location(physical_location=place, logical_locations=functions),)


def _logical(site: Site) -> tuple[LogicalLocation, ...]:
    if site.file == NO_LINE:
        kind = "function" if site.range is None else "range"
        return (LogicalLocation(fully_qualified_name=text.shown(site.waiter), kind=kind),)
    return (LogicalLocation(fully_qualified_name=text.shown(site.function)),) if site.function else ()


def uri_of(file: str) -> str:
    """Return the relative URI of `file`; what is no UTF-8 in its name becomes a question mark, escaped."""
    return quote(file.replace("\\", "/").lstrip("/").encode("utf-8", errors="replace"), safe="/")


def _suppressions(entry: Entry) -> list[Suppression]:
    if entry.reason is Reason.ALLOWED:
        return [Suppression(kind="inSource", justification=text.crop_right(text.shown(entry.message), _LIMIT))]
    if entry.reason is Reason.KNOWN:
        return [Suppression(kind="external", justification="It is in the baseline.")]
    if entry.site is not None and entry.site.allowed is not None and entry.severity is Severity.NOTE:
        return [Suppression(kind="inSource", justification=text.shown(entry.site.allowed))]
    return []


def _properties(entry: Entry, report: Report) -> dict[str, Any]:
    said: dict[str, Any] = {"device": report.device.value, "variant": entry.variant}
    if report.recorder is not RecordedBy.SYNCWATCH:
        said["recorder"] = report.recorder.value
    if entry.reason is not None:
        said["reason"] = entry.reason.value
    if entry.site is not None:
        said |= {
            "gainUs": entry.site.gain_us,
            ("callsInRun" if entry.outside else "callsPerStep"): entry.site.calls_per_step,
            "hostBlockedUs": entry.site.host_blocked_us,
            "gpuIdleUs": entry.site.gpu_idle_us,
            "modelled": report.device is DeviceKind.VIRTUAL,
        }
    return said


def _level(severity: Severity) -> str:
    if severity is Severity.FAIL:
        return "error"
    if severity is Severity.WARN:
        return "warning"
    if severity is Severity.NOTE:
        return "note"
    assert_never(severity)
