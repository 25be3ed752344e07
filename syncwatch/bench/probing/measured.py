"""Measures single calls: the waits and copies that every sensor saw, whether the host stood still, and their table."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from syncwatch.compat.torch_cuda import spin
from syncwatch.errors import SessionError
from syncwatch.model.events import CopyEvent, Direction, SyncKind
from syncwatch.model.session import DeviceKind, Environment, Recording
from syncwatch.sense.base import WatchedDevice
from syncwatch.sense.scopes.ranges import step

QUEUED_CYCLES = 10_000_000
"""Clock cycles of queued work to stand still behind: about 5 ms on an H200."""
_BATCH = 400
"""Calls that one recording holds."""


@dataclass(frozen=True, slots=True)
class ProbedCall:
    """Something to measure."""

    name: str
    prepare: Callable[[], Callable[[], object]]
    """Makes fresh inputs, and returns the call on them."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one call did."""

    syncs: dict[str, int]
    """Kind of wait to how often."""
    seen: dict[str, int]
    """Sensor to how many of the waits it saw."""
    copies: dict[str, int]
    """`d2h pinned`, `h2d pageable`, ... to how often; copies on the device are left out."""
    stood_still: bool | None
    """Whether the host waited for queued work; None where it was not tried."""
    with_line: int | None = None
    """How many of the waits have a line; None in tables that were measured before it was counted."""
    unseen_by_cupti: int | None = None
    """How many of the waits only hooks saw; None as above."""

    @property
    def waits(self) -> bool:
        """Return whether the host waits for the device."""
        return bool(self.syncs)


def measure(
    calls: Sequence[ProbedCall], device: WatchedDevice, advance: Callable[[int], None] = lambda done: None
) -> tuple[dict[str, Measured], dict[str, str]]:
    """Measure every call once, after one warm-up.

    Args:
        calls: what to measure.
        device: where.
        advance: called with the number of calls done.

    Returns:
        What each call did, and why the others could not run, both by name.
    """
    failed: dict[str, str] = {}
    results: dict[str, Measured] = {}
    for start in range(0, len(calls), _BATCH):
        runnable = [call for call in calls[start : start + _BATCH] if _warmed(call, failed)]
        with device.watch(f"probe {start}") as sensed:
            _run_each(runnable)
        still = [_stands_still(call) if device.kind is DeviceKind.CUDA else None for call in runnable]
        for index, (call, stood_still) in enumerate(zip(runnable, still, strict=True)):
            if sensed.recording is not None:
                results[call.name] = _measured(sensed.recording, index, stood_still)
        advance(len(results) + len(failed))
    return results, failed


def _run_each(calls: Sequence[ProbedCall]) -> None:
    for call in calls:
        act = _ready(call)
        with step():
            act()


def _ready(call: ProbedCall) -> Callable[[], object]:
    act = call.prepare()
    torch.cuda.synchronize()
    return act


def _warmed(call: ProbedCall, failed: dict[str, str]) -> bool:
    """Run it once, so that handles, modules and caches exist; what cannot run is noted."""
    try:
        _ready(call)()
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else ""
        failed[call.name] = f"{type(error).__name__}: {first}"
        return False
    return True


def _measured(recording: Recording, index: int, stood_still: bool | None) -> Measured:
    waits = [each for each in recording.syncs if each.step == index and not each.pacing]
    syncs = [each for each in waits if each.kind is not SyncKind.ALLOCATION]
    return Measured(
        syncs=dict(sorted(Counter(each.kind.value for each in syncs).items())),
        seen=dict(sorted(Counter(sensor for each in syncs for sensor in each.seen_by).items())),
        copies=dict(sorted(Counter(_moves(recording.copies or (), index)).items())),
        stood_still=stood_still,
        with_line=sum(each.stack is not None for each in syncs),
        unseen_by_cupti=sum("cupti" not in each.seen_by for each in syncs),
    )


def _moves(copies: tuple[CopyEvent, ...], index: int) -> Iterator[str]:
    for each in copies:
        if each.step == index and each.direction is not Direction.D2D:
            yield f"{each.direction.value} {each.memory.value if each.memory else '?'}"


def _stands_still(call: ProbedCall) -> bool:
    """Return whether the call returns only after work that was queued before it; a slow host gets three tries."""
    return all(_outlasts_the_queue(call) for _ in range(3))


def _outlasts_the_queue(call: ProbedCall) -> bool:
    act = _ready(call)
    queue_end = torch.cuda.Event()
    spin(QUEUED_CYCLES)
    queue_end.record()
    act()
    return bool(queue_end.query())


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
class ChangedSample:
    """A sample that waits in one table and not, or differently, in the other."""

    name: str
    signature: str
    known: Measured
    found: Measured


def differences(known: ProbedTable, found: ProbedTable) -> Iterator[ChangedSample]:
    """Yield the samples of both tables, with one signature, that make other waits or copies."""
    for name, measured in found.operators.items():
        before = known.operators.get(name)
        if before is None or known.signatures.get(name) != found.signatures.get(name):
            continue
        if (before.syncs, before.copies) != (measured.syncs, measured.copies):
            yield ChangedSample(name, found.signatures[name], before, measured)
