"""The records of a sweep and their file: what every operator did at each size, layout, type and kind of memory."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
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


class Operator(msgspec.Struct):
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
    operators: dict[str, Operator] = {}

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
