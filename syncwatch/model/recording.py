"""What the sensors recorded of one process or of one variant."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from syncwatch.model.events import CopyEvent, Frame, KernelEvent, RangeEvent, Step, SyncEvent


class DeviceKind(str, Enum):
    """Which device the target ran on."""

    CUDA = "cuda"
    VIRTUAL = "virtual"


class Recorder(str, Enum):
    """Which program recorded."""

    SYNCWATCH = "syncwatch"
    NSYS = "nsys"
    TORCH_PROFILER = "torch.profiler"


@dataclass(frozen=True, slots=True)
class Environment:
    """The versions and the device that a figure belongs to; no user name, host name or environment variable."""

    torch: str
    triton: str | None
    gpu: str | None
    """The GPU's name, or None where there is none; the virtual device says which GPU it stands for."""
    driver: str | None
    python: str
    syncwatch: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was watched, and what was not."""

    sensors: tuple[str, ...]
    blind_to: tuple[str, ...]
    """What none of these sensors can see, one phrase each."""
    seen: int | None
    """Synchronizations that the most complete sensor counted; None where it could not run."""
    attributed: int
    """How many of the recorded synchronizations have a line."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the user's, as `Site` names it."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Replay:
    """The step with the host value of one line, or of all of them, recorded before instead of read."""

    lines: tuple[Line, ...]
    """The lines that did not read."""
    rounds_ns: tuple[tuple[int, ...], ...]
    """Step times in ns, a tuple for each round; empty where it was not possible."""
    refused: str | None = None
    """Why it was not possible, a sentence."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One variant of the target, as the sensors saw it."""

    variant: str
    steps: tuple[Step, ...]
    rounds_ns: tuple[tuple[int, ...], ...]
    """Honest step times in ns: one tuple of measured steps for each interleaved round; empty where none was taken."""
    modelled: bool
    """Whether the times come from the virtual clock."""
    threads: tuple[str, ...]
    frames: tuple[Frame, ...]
    stacks: tuple[tuple[int, ...], ...]
    """Indices into `frames`, innermost first."""
    syncs: tuple[SyncEvent, ...]
    copies: tuple[CopyEvent, ...] | None
    """None where no sensor recorded copies."""
    kernels: tuple[KernelEvent, ...] | None
    """None where no sensor recorded kernels."""
    ranges: tuple[RangeEvent, ...]
    coverage: Coverage
    notes: tuple[str, ...] = ()
    """What a reader should know of this recording, a sentence each."""
    range_stacks: tuple[tuple[str, ...], ...] = ()
    """The names of nested NVTX ranges, outermost first; `SyncEvent.within` points here."""
    host_build_ns: tuple[int, ...] = ()
    """Host time in ns of each measured step in ranges named `build metadata`, in the pass without CUPTI."""
    priced_ns: tuple[int, ...] = ()
    """Step times in ns of the pass that CUPTI watched; beside `rounds_ns` they tell what watching cost."""
    figures: tuple[dict[str, float | None], ...] = ()
    """Figures of the scenario's own by name, once for each round; empty where it has none."""
    replays: tuple[Replay, ...] = ()
    """What the step took without its host reads; empty where that was not asked."""
    used_gpu: bool | None = None
    """Whether it had a kernel, a copy, a wait or an allocation on the device; None where that is not known."""
