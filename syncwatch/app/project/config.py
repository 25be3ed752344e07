"""What the project decided: `[tool.syncwatch]` of pyproject.toml, or syncwatch.toml, as a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from syncwatch.app.project.config_file import ConfigFile, find_config
from syncwatch.attribute.causes import CAUSES
from syncwatch.judge import allows
from syncwatch.judge.allows import require_code
from syncwatch.judge.baseline_file import DEFAULT_NAME
from syncwatch.judge.policy import is_path_pattern
from syncwatch.model.paths import project_root, repository_root
from syncwatch.model.verdict import Allow, Budgets, Level, Pattern, Policy, Rule

_LIMIT: Any = Annotated[float, msgspec.Meta(ge=0)] | None
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Shape = TypeVar("_Shape")


class _Allow(msgspec.Struct, forbid_unknown_fields=True):
    reason: _Text
    code: str | list[str] = msgspec.field(default_factory=list)
    path: _Text | None = None
    function: _Text | None = None
    until: date | None = None


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    implicit: Level = Level.DISALLOW
    explicit: Level = Level.LOG
    outside_steps: Level = Level.DISALLOW
    unwatched: Level = Level.DISALLOW
    strict: bool = False
    max_gain_us: _LIMIT = None
    baseline: _Text | None = None
    require: list[str] = []
    causes: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    ranges: dict[str, Any] = {}
    budgets: dict[str, Any] = {}
    allow: list[_Allow] = []


_KEYS = {
    "": tuple(field.name for field in msgspec.structs.fields(_Table)),
    "allow": tuple(field.name for field in msgspec.structs.fields(_Allow)),
    "budgets": tuple(field.name for field in fields(Budgets)),
}
"""What each table takes."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What one project decided about the gate."""

    policy: Policy
    baseline: Path
    """Where the baseline is, or would be."""
    baseline_named: bool
    """Whether the configuration names it, so that it has to be there."""
    require: tuple[str, ...]
    """Functions that a run must reach, as pkg.mod:function."""
    root: Path
    """The folder of the configuration, or of the repository; paths in reports are looked for here too."""
    config: Path | None
    """The configuration itself, where there is one."""
    start: Path
    """Where the command was started; what runs may leave this folder."""

    @property
    def home(self) -> Path:
        """The folder that the paths of a report and of a baseline start from; `--config` has no say in it."""
        return project_root(self.start)


def read_settings(start: Path, given: Path | None = None) -> Settings:
    """Return the settings that hold in the folder `start`.

    Args:
        start: where to look first; then upwards to the root of the repository.
        given: the file to read instead.

    Raises:
        UsageError: if a file cannot be read, or a key, type, pattern or cause code in it is wrong, with its line.
    """
    config = find_config(start, given)
    if config is None:
        root = repository_root(start) or start
        return Settings(
            Policy(), root / DEFAULT_NAME, baseline_named=False, require=(), root=root, config=None, start=start
        )
    table = _decode(config, config.table, _Table)
    root = config.path.parent
    policy = Policy(
        implicit=table.implicit,
        explicit=table.explicit,
        causes=_rules(config, "causes", table.causes),
        paths=_rules(config, "paths", table.paths),
        ranges=_rules(config, "ranges", table.ranges),
        budgets=_budgets(config, table),
        allows=_allows(config, table.allow),
        outside_steps=table.outside_steps,
        unwatched=table.unwatched,
        strict=table.strict,
    )
    return Settings(
        policy=policy,
        baseline=root / (table.baseline or DEFAULT_NAME),
        baseline_named=table.baseline is not None,
        require=tuple(table.require),
        root=root,
        config=config.path,
        start=start,
    )


def _decode(config: ConfigFile, value: Any, shape: type[_Shape], *path: str | int) -> _Shape:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise config.refused(error, path, value, _KEYS) from error


def _budgets(config: ConfigFile, table: _Table) -> Budgets:
    for name in table.budgets:
        if name not in _KEYS["budgets"]:
            raise config.unknown(("budgets", name), _KEYS["budgets"])
    limits: dict[str, float | None] = {
        name: _decode(config, value, _LIMIT, "budgets", name) for name, value in table.budgets.items()
    }
    if table.max_gain_us is not None:
        if "gain_us" in limits:
            raise config.wrong(("max_gain_us",), "budgets.gain_us says the same. Keep one of the two.")
        limits["gain_us"] = table.max_gain_us
    return Budgets(**limits)


def _rules(config: ConfigFile, name: str, table: Mapping[str, Any]) -> tuple[Rule, ...]:
    rules = []
    for pattern, value in table.items():
        place = (name, pattern)
        if name == "causes":
            require_code(pattern, CAUSES, config.place(place))
        elif not pattern.strip() or (name == "paths" and not is_path_pattern(pattern)):
            raise config.wrong(place, f'{pattern!r} matches nothing. Write it as in .gitignore, such as "tests/**".')
        rules.append(Rule(pattern, _decode(config, value, Level, *place)))
    return tuple(rules)


def _allows(config: ConfigFile, entries: Sequence[_Allow]) -> tuple[Allow, ...]:
    lines = config.allow_lines(len(entries))
    return tuple(
        _allow(config, index, entry, line) for index, (entry, line) in enumerate(zip(entries, lines, strict=True))
    )


def _allow(config: ConfigFile, index: int, entry: _Allow, line: int) -> Allow:
    place = ("allow", index)
    codes = (entry.code,) if isinstance(entry.code, str) else tuple(entry.code)
    for code in codes:
        require_code(code, CAUSES, config.place((*place, "code")))
    if not entry.reason.strip():
        raise config.wrong((*place, "reason"), "the allow gives no reason. Say why these may wait.")
    if entry.path is not None and not is_path_pattern(entry.path):
        raise config.wrong(
            (*place, "path"), f"{entry.path!r} matches nothing. Write it as in .gitignore, such as app/*.py."
        )
    if not codes and entry.path is None and entry.function is None:
        raise config.wrong(place, "the allow covers everything. Give it a code, a path or a function.")
    reason, day = allows.reason_and_day(entry.reason, config.place((*place, "reason")))
    if not reason:
        raise config.wrong((*place, "reason"), "the allow gives no reason. Say why these may wait.")
    return Allow(
        codes=codes,
        reason=reason,
        until=min((each for each in (entry.until, day) if each is not None), default=None),
        where=Pattern(entry.path, entry.function),
        file=config.path.name,
        line=line,
    )
