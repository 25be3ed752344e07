"""Opens a SQLite file of nsys, whose tables and columns differ by version and which may be damaged."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from syncwatch.errors import SessionError

RUNTIME = "CUPTI_ACTIVITY_KIND_RUNTIME"
KERNEL = "CUPTI_ACTIVITY_KIND_KERNEL"
MEMCPY = "CUPTI_ACTIVITY_KIND_MEMCPY"
MEMSET = "CUPTI_ACTIVITY_KIND_MEMSET"
GRAPH = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"
SYNCHRONIZATION = "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION"
NVTX = "NVTX_EVENTS"

LONGEST_NAME = 4096
"""Characters kept of a name; those of kernels carry their template arguments."""
_FARTHEST = 2**62
"""Times beyond cannot be told apart from noise, and overflow where they are added up."""


class NsysFile:
    """An export, opened so that nothing is ever written, neither into it nor beside it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # Views and virtual tables run code of whoever made the file: nsys writes none.
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0").fetchall()
        self._columns = {
            str(name): frozenset(str(row[1]) for row in connection.execute(f"PRAGMA table_info({_quoted(str(name))})"))
            for (name,) in tables
        }

    def has(self, table: str, *columns: str) -> bool:
        """Return whether the file has `table`, with all of `columns`."""
        return table in self._columns and self._columns[table].issuperset(columns)

    def columns(self, table: str, names: Sequence[str], of: str = "") -> str:
        """Return `names` as SQL, NULL for each that `table` lacks; `of` is the table's name in the query."""
        known = self._columns.get(table, frozenset())
        prefix = f"{of}." if of else ""
        return ", ".join(f"{prefix}{_quoted(name)}" if name in known else "NULL" for name in names)

    def rows(self, query: str, *values: int) -> sqlite3.Cursor:
        """Return the rows of `query`."""
        return self._connection.execute(query, values)

    def count(self, query: str) -> int:
        """Return the single number that `query` gives; 0 for NULL."""
        row = self._connection.execute(query).fetchone()
        return int(row[0] or 0) if row else 0

    def texts(self, table: str, column: str, longest: int | None = LONGEST_NAME) -> dict[int, str]:
        """Return those entries of StringIds that `column` of `table` points at: no other text is ever read.

        Args:
            table: whose texts.
            column: its column with the numbers.
            longest: how many characters are kept of each; None for all.
        """
        if not self.has(table, column) or not self.has("StringIds", "id", "value"):
            return {}
        used = f"SELECT {_quoted(column)} FROM {_quoted(table)}"
        text = "CAST(value AS TEXT)" if longest is None else f"substr(CAST(value AS TEXT), 1, {longest})"
        query = f"SELECT id, {text} FROM StringIds WHERE id IN ({used})"
        return {number: text or "" for number, text in self.rows(query)}

    def enum(self, table: str) -> dict[int, str]:
        """Return the names that the file gives to numbers; empty where it has none, as exports of 2022."""
        if not self.has(table, "id", "name"):
            return {}
        return {number: str(name) for number, name in self.rows(f"SELECT id, name FROM {_quoted(table)}")}

    def require_sound(
        self, table: str, integers: Sequence[str], optional: Sequence[str] = (), where: str = "TRUE"
    ) -> None:
        """Refuse a table whose rows nsys cannot have written.

        Args:
            table: which is there.
            integers: columns that have to be there, with a number in each row.
            optional: columns that may be missing or NULL.
            where: the rows that are looked at, as SQL.

        Raises:
            SessionError: if a row has no number where one belongs, ends before it begins, or lies out of all time.
        """
        needed = [name for name in integers if not self.has(table, name)]
        if needed:
            raise SessionError(
                f"{table} has no column {needed[0]!r}: this is no export that nsys 2022 to 2026 writes. "
                "Export the report again with `nsys export --type sqlite`."
            )
        checks = [f"typeof({_quoted(name)}) <> 'integer'" for name in integers]
        checks += [f"typeof({_quoted(name)}) NOT IN ('integer', 'null')" for name in optional if self.has(table, name)]
        if "end" in (*integers, *optional):
            checks += ['"end" < start', f"start < -{_FARTHEST}", f'"end" > {_FARTHEST}']
        if "bytes" in integers:
            checks.append("bytes < 0")
        broken = self.count(f"SELECT count(*) FROM {_quoted(table)} WHERE ({where}) AND ({' OR '.join(checks)})")
        if broken:
            raise SessionError(
                f"{broken} of the rows of {table} have no time or number that can be: the file is damaged. "
                "Export the report again with `nsys export --type sqlite`."
            )


@contextmanager
def open_nsys(path: Path, named: Path) -> Iterator[NsysFile]:
    """Open the export at `path`; what SQLite says of a damaged file becomes a sentence about `named`.

    Raises:
        SessionError: if it cannot be read, is no export, or is being written.
    """
    for suffix in ("-wal", "-journal"):
        beside = f"{path}{suffix}"
        if os.path.exists(beside) and os.path.getsize(beside):
            raise SessionError(f"{named} is still being written: {beside} lies beside it. Let that program end first.")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            connection.text_factory = _text
            # Sorting needs room, which is not taken from the folder of the file.
            for setting in ("temp_store = MEMORY", "trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
                connection.execute(f"PRAGMA {setting}")
            yield NsysFile(connection)
        finally:
            connection.close()
    except (sqlite3.Error, OverflowError, MemoryError, UnicodeError) as error:
        raise SessionError(
            f"Cannot read {named}: {_reason(error)}. Export the report again with `nsys export --type sqlite`."
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        # What SQLite says can quote the damaged file, and is then no Unicode.
        return "it is damaged"
    if isinstance(error, MemoryError):
        return "there is too little memory for it"
    return " ".join(str(error).split())


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
