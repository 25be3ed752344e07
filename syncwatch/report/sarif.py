"""What a code scanner reads: SARIF 2.1.0, with the page of each cause as the help of its rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from typing_extensions import assert_never

from syncwatch.model.codec import encode
from syncwatch.model.finding import NO_LINE, Report, RuleHelp, Site
from syncwatch.model.session import DeviceKind, Recorder
from syncwatch.model.verdict import Reason, Severity, Verdict
from syncwatch.report import sarif_log as sarif
from syncwatch.report import text
from syncwatch.report.entries import Entry, block_of, entries_of
from syncwatch.version import __version__

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
        run = sarif.Run(
            tool=sarif.Tool(
                driver=sarif.Driver(
                    name="syncwatch", version=__version__, rules=tuple(self._descriptor(rule) for rule in index)
                )
            ),
            invocations=(_invocation(of_the_run),),
            original_uri_base_ids={
                _ROOT: sarif.ArtifactLocation(
                    description=sarif.Message(text="The folder that the run was started in, or one of sys.path.")
                )
            },
            automation_details=sarif.AutomationDetails(id=f"syncwatch/{text.shown(report.target)}/"),
            results=[self._result(entry, index[entry.rule], report) for entry in results],
        )
        return encode(sarif.Log(runs=[run])).decode()

    def _descriptor(self, rule: str) -> sarif.Descriptor:
        known = self._rules.get(rule)
        if known is None:
            said = f"The gate says: {rule.replace('-', ' ')}."
            return sarif.Descriptor(id=rule, short_description=sarif.Message(text=said))
        return sarif.Descriptor(
            id=rule,
            short_description=sarif.Message(text=known.title),
            full_description=sarif.Message(text=known.summary),
            help=sarif.Message(text=known.markdown, markdown=known.markdown),
            help_uri=known.uri,
        )

    def _result(self, entry: Entry, index: int, report: Report) -> sarif.Result:
        message = text.crop_right(text.shown(entry.message), _LIMIT)
        site = entry.site
        return sarif.Result(
            rule_id=entry.rule,
            rule_index=index,
            level=_level(entry.severity),
            message=sarif.Message(
                text=message if site is None else f"{message}\n\n{block_of(site, report, outside=entry.outside)}"
            ),
            locations=_locations(entry),
            partial_fingerprints={} if site is None else {FINGERPRINT: self._fingerprint(site)},
            suppressions=_suppressions(entry),
            properties=_properties(entry, report),
        )


def _invocation(entries: Sequence[Entry]) -> sarif.Invocation:
    said = tuple(
        sarif.Notification(
            level=_level(each.severity), message=sarif.Message(text=text.crop_right(text.shown(each.message), _LIMIT))
        )
        for each in entries
    )
    measured = all(each.reason is not Reason.UNMEASURED for each in entries)
    return sarif.Invocation(execution_successful=measured, tool_execution_notifications=said)


def _locations(entry: Entry) -> tuple[sarif.Location, ...]:
    site = entry.site
    functions = () if site is None else _logical(site)
    if entry.file is None:
        return (sarif.Location(logical_locations=functions),) if functions else ()
    snippet = sarif.Snippet(text=text.shown(site.source)) if site is not None and site.source else None
    place = sarif.PhysicalLocation(
        artifact_location=sarif.ArtifactLocation(uri=uri_of(entry.file), uri_base_id=_ROOT),
        region=sarif.Region(start_line=entry.line, snippet=snippet) if entry.line and entry.line > 0 else None,
    )
    return (sarif.Location(physical_location=place, logical_locations=functions),)


def _logical(site: Site) -> tuple[sarif.LogicalLocation, ...]:
    if site.file == NO_LINE:
        kind = "function" if site.range is None else "range"
        return (sarif.LogicalLocation(fully_qualified_name=text.shown(site.waiter), kind=kind),)
    return (sarif.LogicalLocation(fully_qualified_name=text.shown(site.function)),) if site.function else ()


def uri_of(file: str) -> str:
    """Return the relative URI of `file`; what is no UTF-8 in its name becomes a question mark, escaped."""
    return quote(file.replace("\\", "/").lstrip("/").encode("utf-8", errors="replace"), safe="/")


def _suppressions(entry: Entry) -> list[sarif.Suppression]:
    if entry.reason is Reason.ALLOWED:
        return [sarif.Suppression(kind="inSource", justification=text.crop_right(text.shown(entry.message), _LIMIT))]
    if entry.reason is Reason.KNOWN:
        return [sarif.Suppression(kind="external", justification="It is in the baseline.")]
    if entry.site is not None and entry.site.allowed is not None and entry.severity is Severity.NOTE:
        return [sarif.Suppression(kind="inSource", justification=text.shown(entry.site.allowed))]
    return []


def _properties(entry: Entry, report: Report) -> dict[str, Any]:
    said: dict[str, Any] = {"device": report.device.value, "variant": entry.variant}
    if report.recorder is not Recorder.SYNCWATCH:
        said["recorder"] = report.recorder.value
    if entry.reason is not None:
        said["reason"] = entry.reason.value
    if entry.site is not None:
        said |= {
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
