"""The table that a probe writes: what was measured and on what machine, and where two such tables differ."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from syncwatch.bench.probing.measured import Measured
from syncwatch.errors import SessionError
from syncwatch.model.session import Environment

SCHEMA = "syncwatch.probe/1"


@dataclass(frozen=True, slots=True)
class ProbedTable:
    """What a probe measured on one machine."""

    environment: Environment
    operators: dict[str, Measured]
    """`operator|variant|dtype|index` to what the sample did."""
    signatures: dict[str, str]
    """The shapes of each sample; two tables are compared only where these agree."""
    failed: dict[str, str]
    """Samples that could not run, and why."""
    rates: dict[str, int]
    """Measured rates, by the names of the virtual clock; empty where none were measured."""
    schema: str = SCHEMA

    @classmethod
    def load(cls, path: Path) -> ProbedTable:
        """Read a table that `syncwatch probe -o` wrote.

        Raises:
            SessionError: if the file is none.
        """
        try:
            raw = path.read_bytes()
            return msgspec.json.decode(gzip.decompress(raw) if path.suffix == ".gz" else raw, type=cls)
        except gzip.BadGzipFile as error:
            raise SessionError(f"{path} is not gzip: {error}. Make one with syncwatch probe -o.") from error
        except OSError as error:
            raise SessionError(f"Cannot read {path}: {error.strerror}.") from error
        except (msgspec.DecodeError, UnicodeDecodeError, EOFError, zlib.error) as error:
            raise SessionError(f"{path} is not a probe's table: {error}. Make one with syncwatch probe -o.") from error

    def save(self, path: Path) -> None:
        """Write the table to `path`, compressed where the name ends in .gz.

        Raises:
            OSError: if it cannot be written.
        """
        raw = msgspec.json.format(msgspec.json.encode(self), indent=0) + b"\n"
        path.write_bytes(gzip.compress(raw, mtime=0) if path.suffix == ".gz" else raw)


SHIPPED = Path(__file__).with_name("measured_h200.json.gz")
"""What `syncwatch probe` measured on an H200."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A sample that waits in one table and not, or differently, in the other."""

    name: str
    signature: str
    known: Measured
    found: Measured


def differences(known: ProbedTable, found: ProbedTable) -> Iterator[Difference]:
    """Yield the samples of both tables, with one signature, that make other waits or copies."""
    for name, measured in found.operators.items():
        before = known.operators.get(name)
        if before is None or known.signatures.get(name) != found.signatures.get(name):
            continue
        if (before.syncs, before.copies) != (measured.syncs, measured.copies):
            yield Difference(name, found.signatures[name], before, measured)
