"""Finds the file that holds the configuration, the line of each key in it, and what is wrong there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from syncwatch.errors import UsageError
from syncwatch.model.paths import OWN_CONFIG, SHARED_CONFIG, config_folders, not_plain
from syncwatch.model.verdict import Level

_NEARLY = (
    *(".syncwatch.toml", "Syncwatch.toml", "sync-watch.toml", "sync_watch.toml", "syncwatch.tml"),
    *("syncwatch.yaml", "syncwatch.yml", "syncwatch.ini", "syncwatch.cfg", ".syncwatch.yaml", ".syncwatch.yml"),
)
"""What a policy is called by mistake, or by the habit of other tools."""
_AT = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_ALLOW_HEAD = re.compile(r"\s*\[\[\s*(tool\s*\.\s*syncwatch\s*\.\s*)?allow\s*\]\]")
_KeyPath = tuple["str | int", ...]

Keys = Mapping[str, Sequence[str]]
"""The keys of each table by the name of the table; the outermost has none."""
_LEVELS = tuple(level.value for level in Level)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One configuration, and where it came from."""

    path: Path
    text: str
    prefix: _KeyPath
    """Where in the file the table is: `("tool", "syncwatch")` or nothing."""
    table: dict[str, Any]

    def line(self, keys: _KeyPath) -> int | None:
        """Return the line on which `keys` begins; None where the table does not have it."""
        return _line_of(self.text, (*self.prefix, *keys))

    def allow_lines(self, count: int) -> list[int]:
        """Return the lines on which the `count` entries of the array `allow` begin."""
        heads = [number for number, line in enumerate(self.text.split("\n"), 1) if _ALLOW_HEAD.match(line)]
        if len(heads) == count:
            return heads
        return [self.line(("allow", index)) or 1 for index in range(count)]

    def place(self, keys: _KeyPath) -> str:
        """Return the file and the line of `keys`, or of what is nearest around it."""
        for end in range(len(keys), -1, -1):
            line = self.line(keys[:end])
            if line is not None:
                return f"{self.path.name}:{line}"
        return self.path.name

    def wrong(self, keys: _KeyPath, what: str) -> UsageError:
        """Return the refusal of the value at `keys`."""
        return UsageError(f"{self.place(keys)}: {what}")

    def unknown(self, keys: _KeyPath, known: Sequence[str]) -> UsageError:
        """Return the refusal of the key at `keys`, whose table takes those that are `known`."""
        name = str(keys[-1])
        return self.wrong(keys, f"no key {name!r}. {_nearest(name, known)}")

    def refused(self, error: msgspec.ValidationError, keys: _KeyPath, value: Any, known: Keys) -> UsageError:
        """Return the refusal of what msgspec found wrong in `value`, which lies at `keys`; tables take `known`."""
        text = str(error)
        at = _AT.search(text)
        inner = _parts(at["path"]) if at else ()
        what = text[: at.start()] if at else text
        unknown = _UNKNOWN.fullmatch(what)
        if unknown:
            return self.unknown((*keys, *inner, unknown["name"]), known[str(inner[0]) if inner else ""])
        if what.startswith("Invalid enum value"):
            found = _value(value, inner)
            return self.wrong((*keys, *inner), f"no level {found!r}. {_nearest(str(found), _LEVELS)}")
        name = ".".join(map(str, (*keys, *inner)))
        return self.wrong((*keys, *inner), f"{name}: {what[:1].lower()}{what[1:].replace('`object`', 'a table')}.")


def find_config(start: Path, given: Path | None) -> ConfigFile | None:
    """Return the configuration `given`, or the one of the nearest folder from `start` up to the repository's root.

    Raises:
        UsageError: if a file cannot be read or is no TOML, or one folder has two configurations.
    """
    if given is not None:
        found = _read(given.absolute())
        if found is None:
            raise UsageError(f"{given} has no table [tool.syncwatch]. Add one, or give another file with --config.")
        return found
    for folder in config_folders(start):
        here = [_read(path) for path in (folder / OWN_CONFIG, folder / SHARED_CONFIG) if path.is_file()]
        configs = [config for config in here if config is not None]
        if len(configs) > 1:
            raise UsageError(
                f"Both {OWN_CONFIG} and {SHARED_CONFIG} in {folder} have a policy. Keep one, or name it with --config."
            )
        if configs:
            return configs[0]
        _refuse_other_names(folder)
    return None


def _read(path: Path) -> ConfigFile | None:
    """Return the configuration in `path`; None for a pyproject.toml without one."""
    kind = not_plain(path)
    if kind is not None:
        raise UsageError(f"Cannot read {path}: it is {kind}. Give a file with --config.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        document = msgspec.toml.decode(text)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}. Give a file that exists with --config.") from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML: {error}. Mend it there, or give another file with --config.") from error
    if path.name != SHARED_CONFIG:
        _refuse_inner_table(path, text, document)
        return ConfigFile(path, text, (), document)
    if isinstance(document.get("syncwatch"), dict):
        place = _line_of(text, ("syncwatch",))
        raise UsageError(f"{path.name}:{place}: [syncwatch] is not read here. Write it as [tool.syncwatch].")
    tools = document.get("tool", {})
    if not isinstance(tools, dict):
        return None
    if "syncwatch" not in tools:
        near = get_close_matches("syncwatch", tools, n=1, cutoff=0.85)
        if near:
            place = _line_of(text, ("tool", near[0]))
            raise UsageError(f"{path.name}:{place}: no tool is called {near[0]!r}. Did you mean [tool.syncwatch]?")
        return None
    if not isinstance(tools["syncwatch"], dict):
        place = _line_of(text, ("tool", "syncwatch"))
        raise UsageError(f"{path.name}:{place}: syncwatch is no table. Write it as [tool.syncwatch].")
    return ConfigFile(path, text, ("tool", "syncwatch"), tools["syncwatch"])


def _refuse_inner_table(path: Path, text: str, document: dict[str, Any]) -> None:
    """Refuse a file of our own whose keys stand in a table, as they do in pyproject.toml.

    Raises:
        UsageError: with the line, and what to drop.
    """
    for keys in (("tool", "syncwatch"), ("syncwatch",), ("tool",)):
        if isinstance(_at(document, keys), dict):
            name = ".".join(keys)
            raise UsageError(
                f"{path.name}:{_line_of(text, keys)}: in a file of its own the policy stands at the top, without "
                f"{name}. Drop the line [{name}], and write [{name}.causes] as [causes]."
            )


def _at(document: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _refuse_other_names(folder: Path) -> None:
    """Refuse a policy that would go unread because of its name.

    Raises:
        UsageError: with the name that it should have.
    """
    for name in _NEARLY:
        if (folder / name).is_file():
            raise UsageError(
                f"{folder / name} is not read: the policy is called {OWN_CONFIG}, and is written in TOML. Rename it, "
                "or name it with --config."
            )


def _line_of(text: str, keys: _KeyPath) -> int | None:
    """Return the line on which `keys` begins: the first after which the lines so far, read alone, have it.

    Works for every way to write a key (dotted, quoted, inline, in a table's head), since the TOML reader decides.
    """
    lines = text.split("\n")
    without, having = 0, len(lines)
    if not keys or not _has(_prefix(lines, having), keys):
        return None
    top = having
    while top - without > 1:
        middle = (without + top) // 2
        # Inside a value of several lines nothing can be read.
        end = next((end for end in range(middle, top) if _prefix(lines, end) is not None), None)
        if end is None:
            top = middle
        elif _has(_prefix(lines, end), keys):
            having, top = end, middle
        else:
            without = end
    return next((number for number in range(without + 1, having) if lines[number - 1].strip()), having)


def _prefix(lines: Sequence[str], end: int) -> Any:
    try:
        return msgspec.toml.decode("\n".join(lines[:end]))
    except (msgspec.DecodeError, ValueError):
        return None


def _has(value: Any, keys: _KeyPath) -> bool:
    for key in keys:
        keyed = isinstance(value, dict) and key in value
        if not keyed and not (isinstance(value, list) and isinstance(key, int) and key < len(value)):
            return False
        value = value[key]
    return True


def _value(value: Any, keys: Sequence[str | int]) -> Any:
    for key in keys:
        value = value[key]
    return value


def _parts(path: str) -> _KeyPath:
    return tuple(int(number) if number else name for number, name in _PART.findall(path))


def _nearest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Choose one of {', '.join(known)}."
