"""What a trace of another program says of one process, before it is known which of its calls are one wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from syncwatch.model.events import Call, CopyEvent, Frame, KernelEvent, RangeEvent, Step, SyncKind
from syncwatch.model.session import RecordedBy


@dataclass(frozen=True, slots=True)
class WaitingCall:
    """A runtime or driver call that waits, or in which the allocator asks for memory or gives some back."""

    call: Call
    kind: SyncKind
    stream: int | None
    """The stream that was waited for; None where the trace does not tell, or for the whole device."""
    device: int


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator of torch on a host thread."""

    name: str
    """As `aten.item`."""
    start_ns: int


class Surroundings(Protocol):
    """Tells what Python was doing at a moment; a trace without stacks or operators knows nothing."""

    def frames_at(self, thread: int, moment_ns: int) -> tuple[Frame, ...]:
        """Return the Python stack of `thread` at `moment_ns`, innermost first; empty where it is not known."""
        ...

    def operator_at(self, thread: int, moment_ns: int) -> Operator | None:
        """Return the innermost operator of `thread` at `moment_ns`; None where it is not known."""
        ...


@dataclass(frozen=True, slots=True)
class TraceProcess:
    """One process of a trace; times are ns on one clock, threads are indices into `threads`."""

    name: str
    """As `process 4242` or `rank 0`."""
    recorder: RecordedBy
    """Which program recorded; its name is that of the sensor."""
    records_calls: bool
    """Whether the trace has the host's runtime calls: without them no wait can be counted."""
    threads: tuple[str, ...]
    """What each thread is called."""
    steps: tuple[Step, ...]
    """What `steps.steps_of` made of the ranges; empty where no step is marked."""
    waits: tuple[WaitingCall, ...]
    """By the start of the call."""
    copies: tuple[CopyEvent, ...] | None
    """By the start of the call, with the step, without a stack; `blocking` is None: the builder tells. None where
    copies were asked for and not recorded."""
    kernels: tuple[KernelEvent, ...] | None
    """Kernels and memsets by their start, with the step; None where kernels were asked for and not recorded."""
    ranges: tuple[RangeEvent, ...]
    surroundings: Surroundings
    notes: tuple[str, ...] = ()
    """What a reader should know of this trace, a sentence each."""
    blind_to: tuple[str, ...] = ()
    """What this trace cannot tell, a phrase each, as `Python lines`."""
    thread_ids: tuple[int | None, ...] = ()
    """The system's number of each thread, where the format has it: torch.profiler's does."""
    unwatched: tuple[str, ...] = ()
    """What hides waits in this trace, a sentence each: rows that are not there, or do not say what they are."""

    def hides(self) -> tuple[str, ...]:
        """Return what hides waits, a sentence each."""
        work: tuple[KernelEvent | CopyEvent, ...] = (*(self.kernels or ()), *(self.copies or ()))
        if self.records_calls and work and all(each.call is None for each in work):
            # A capture that began late lacks the calls of its first work alone.
            asked = f"{self.name} worked on the GPU, and the trace holds none of the calls that asked for it"
            return (*self.unwatched, f"{asked}: waits are missing too. Record it again, from its start.")
        return self.unwatched
