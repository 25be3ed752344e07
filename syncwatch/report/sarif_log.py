"""The parts of a SARIF 2.1.0 log that we write. The names and meanings are those of the OASIS standard.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html. Structs of our own: `sarif-om` has had no release
since 2019.
"""

from __future__ import annotations

from typing import Any

import msgspec

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
