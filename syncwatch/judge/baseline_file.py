"""The file of a baseline: a sorted line of JSON for each site. Diffs can be read, and merges are clean."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from syncwatch.errors import UsageError
from syncwatch.judge.baseline import excess, outside_scope, scope_of
from syncwatch.model.codec import write_bytes
from syncwatch.model.paths import not_plain
from syncwatch.model.verdict import KnownSite, SiteKey

DEFAULT_NAME = ".syncwatch-baseline.jsonl"
SCHEMA = "syncwatch.baseline/1"
_LOCK_LIMIT_S = 60
"""An update takes milliseconds; who waits longer stands behind a process that hangs."""


_MOST = 10**9
"""More lines or calls than any run has; JSON knows no bound, and a float has one."""
_Shape = TypeVar("_Shape")


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    schema: str


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    function: str
    code: str
    source: str
    target: str
    variant: str
    sites: Annotated[int, msgspec.Meta(ge=1, le=_MOST)]
    calls_per_step: Annotated[float, msgspec.Meta(ge=0, le=_MOST)]


@dataclass(frozen=True, slots=True)
class Changes:
    """What an update did to the entries of its own target and variants."""

    added: tuple[KnownSite, ...] = ()
    raised: tuple[tuple[KnownSite, KnownSite], ...] = ()
    """Entries that now let more lines wait, or let them wait more often: before, and after."""
    lowered: tuple[tuple[KnownSite, KnownSite], ...] = ()
    removed: tuple[KnownSite, ...] = ()


def read_baseline(path: Path) -> tuple[KnownSite, ...]:
    """Return the entries of `path`.

    Raises:
        UsageError: if the file cannot be read or is no baseline, with the line.
    """
    kind = not_plain(path)
    if kind is not None:
        raise UsageError(f"Cannot read the baseline {path}: it is {kind}. Give a file with --baseline.")
    try:
        text = path.read_bytes()
    except OSError as error:
        advice = "Write one with `syncwatch gate TARGET --update-baseline`."
        raise UsageError(f"Cannot read the baseline {path}: {error.strerror}. {advice}") from error
    return _decode(text, path)


def update_baseline(
    path: Path,
    target: str,
    scopes: Collection[str],
    entries: Iterable[KnownSite],
    read: Callable[[Path], tuple[KnownSite, ...]] = read_baseline,
) -> Changes:
    """Replace the entries of `target` and `scopes` by `entries`, and leave those of every other target.

    A second update of the same file waits for the first; a reader sees the old file or the new one, never a part.

    Args:
        path: the file.
        target: what was judged.
        scopes: the names that entries of what was judged have, as `variant_scope` gives them.
        entries: what they are to be known for.
        read: how the file is read.

    Raises:
        UsageError: if the file there is no baseline, or cannot be written.
    """
    # Not above: imported before the target's multiprocessing, filelock 3.32 to 4.1.2 turns the handlers at its exit
    # around, and a program with a child then never ends.
    from filelock import FileLock, Timeout

    try:
        with FileLock(_lock_of(path), timeout=_LOCK_LIMIT_S):
            before = read(path) if path.exists() else ()
            known = {name for scope in scopes for name in (scope, outside_scope(scope))}
            is_ours = [entry.target == scope_of(target) and entry.variant in known for entry in before]
            ours = {_identity(entry): entry for entry, own in zip(before, is_ours, strict=True) if own}
            others = [entry for entry, own in zip(before, is_ours, strict=True) if not own]
            new = {_identity(entry): entry for entry in entries}
            write_bytes(_encode([*others, *new.values()]), path)
    except Timeout as error:
        said = f"Another process has held {path} for {_LOCK_LIMIT_S} s. End it, then update the baseline again."
        raise UsageError(said) from error
    except OSError as error:
        raise UsageError(
            f"Cannot write the baseline {path}: {error.strerror}. Give another with --baseline."
        ) from error
    return _changes(ours, new)


def _changes(before: Mapping[tuple[str, ...], KnownSite], after: Mapping[tuple[str, ...], KnownSite]) -> Changes:
    both = [(before[name], after[name]) for name in sorted(after.keys() & before.keys())]
    raised = tuple((old, new) for old, new in both if excess(new, old) is not None)
    lowered = tuple((old, new) for old, new in both if excess(new, old) is None and excess(old, new) is not None)
    return Changes(
        added=tuple(after[name] for name in sorted(after.keys() - before.keys())),
        raised=raised,
        lowered=lowered,
        removed=tuple(before[name] for name in sorted(before.keys() - after.keys())),
    )


def _decode(text: bytes, path: Path) -> tuple[KnownSite, ...]:
    lines = [(number, line) for number, line in enumerate(text.split(b"\n"), 1) if line.strip()]
    if not lines:
        raise UsageError(f"The baseline {path} is empty. Remove it, then write it with --update-baseline.")
    header = _decode_line(lines[0], path, _Header)
    if header.schema != SCHEMA:
        raise UsageError(
            f"The baseline {path} has the schema {header.schema!r}, and this version reads {SCHEMA!r}. "
            "Remove it, then write it with --update-baseline."
        )
    return tuple(_known(_decode_line(line, path, _Line)) for line in lines[1:])


def _decode_line(numbered: tuple[int, bytes], path: Path, shape: type[_Shape]) -> _Shape:
    number, line = numbered
    try:
        return msgspec.json.decode(line, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        merge = line.startswith((b"<<<<<<<", b"=======", b">>>>>>>"))
        advice = "Keep the lines of both sides" if merge else "Restore the line, or the whole file from git"
        what = "is a merge conflict" if merge else f"is no baseline entry: {error}"
        raise UsageError(f"{path}:{number} {what}. {advice}, then run with --update-baseline.") from error


def _known(line: _Line) -> KnownSite:
    key = SiteKey(line.path, line.function, line.code, line.source)
    return KnownSite(line.target, line.variant, key, line.sites, line.calls_per_step)


def _encode(entries: Iterable[KnownSite]) -> bytes:
    lines = [_Header(SCHEMA), *map(_line, sorted(entries, key=_identity))]
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def _line(entry: KnownSite) -> _Line:
    key = entry.key
    return _Line(
        path=key.path,
        function=key.function,
        code=key.code,
        source=key.source,
        target=entry.target,
        variant=entry.variant,
        sites=entry.sites,
        calls_per_step=entry.calls_per_step,
    )


def _identity(entry: KnownSite) -> tuple[str, ...]:
    key = entry.key
    return key.path, key.function, key.code, key.source, entry.target, entry.variant


def _lock_of(path: Path) -> Path:
    # Beside the baseline a lock would turn up in `git status`.
    name = hashlib.sha256(str(path.resolve()).encode("utf-8", errors="replace")).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"syncwatch-{name}.lock"
