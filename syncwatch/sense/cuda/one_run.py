"""Watches one run by one subscription to CUPTI: lines, waits of libraries and times, joined by correlation id."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch

from syncwatch.compat.torch_cuda import devices_in_use
from syncwatch.errors import NotMeasuredError
from syncwatch.model.session import Coverage, Recording
from syncwatch.sense import active
from syncwatch.sense.cuda.assemble import RECORDS, Assembled, Assembly
from syncwatch.sense.cuda.cupti import Cupti, Looks, Records
from syncwatch.sense.cuda.hooks import BLIND_TO, Hooks, counted, used_gpu, without_half_a_time
from syncwatch.sense.cuda.launch_cost import launch_cost_ns
from syncwatch.sense.cuda.native_stacks import Operators, native_stack
from syncwatch.sense.cuda.runtime_calls import NAME, NotedCall, RuntimeCalls
from syncwatch.sense.cuda.self_check import check
from syncwatch.sense.cuda.start import WhenCudaStarts, finish_work, has_gpu
from syncwatch.sense.cuda.user_profiler import before_profiler
from syncwatch.sense.cuda.witness import NAME as WITNESS
from syncwatch.sense.cuda.witness import Witness
from syncwatch.sense.recorder import Recorder

_PROFILER = (
    "The program started torch.profiler, which needs CUPTI for itself: from then on torch's own hooks gave the lines, "
    "and there are no idle times."
)


@dataclass(slots=True)
class OneRun:
    """One watch, from `start` to `stop`; what CUPTI cannot give, torch's hooks do, and a note says so.

    It begins when the program initialises CUDA, since before there is nothing to record, and to begin would do it.
    """

    recorder: Recorder
    times: bool = True
    """Whether to record what the GPU did."""
    calls: RuntimeCalls = field(init=False)
    notes: list[str] = field(default_factory=list)
    _hooks: Hooks = field(init=False)
    _witness: Witness = field(default_factory=Witness)
    _operators: Operators = field(default_factory=Operators)
    _begun: WhenCudaStarts | None = None
    _cupti: Cupti | None = None
    _watched: bool = False
    """Whether the driver's calls were watched, at least for a while."""
    _partly: bool = False
    """Whether CUPTI was given to the program before the end."""
    _ahead_ns: int = 0
    _records: Records | None = None
    _final: Assembled | None = None
    _hooking: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __post_init__(self) -> None:
        self.calls = RuntimeCalls(self.recorder, native_stack, self._witness.new_line)
        self._hooks = Hooks(self.recorder)

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Watch everything inside."""
        with before_profiler(self._give_up), contextlib.ExitStack() as end:
            self._begun = WhenCudaStarts(self._begin)
            end.callback(self._stop)
            try:
                yield
            finally:
                if os.getpid() != self.recorder.owner:
                    # In the child of a fork CUPTI is its parent's, and what was recorded too.
                    end.pop_all()

    def _begin(self) -> None:
        if active.subscribed():
            self._hook("the watch around this one has CUPTI, which serves one at a time.")
            return
        # Work that was queued before would be recorded without the calls that launched it.
        finish_work()
        # The first look at a native stack loads what unwinds it, which took 25 ms.
        native_stack()
        try:
            if self.times and devices_in_use():
                check()
                launch_cost_ns()
            self._cupti = Cupti(self.calls.handler(), records=self.times, on_lost=self.calls.keep)
        except NotMeasuredError as error:
            self._hook(str(error))
            return
        self._watched = True
        active.set_subscribed(True)
        self._witness.start()

    def _hook(self, why: str) -> None:
        self.notes.append(f"Waits in libraries under torch have no line, and there are no idle times: {why}")
        self._hooking.enter_context(self._hooks.on())

    def _give_up(self) -> None:
        """Let the program's own torch.profiler have CUPTI; it finds none for the rest of the process otherwise."""
        if self._cupti is None or self.calls.has_ended:
            return
        self._partly = True
        self._end_subscription()
        # Where work of the rest is missing, the GPU would seem idle.
        self._cupti.forget()
        self.notes.append(_PROFILER)
        self._hooking.enter_context(self._hooks.on())

    def _stop(self) -> None:
        if self._begun is not None:
            self._begun.cancel()
        self._hooking.close()
        self._end_subscription()
        if self._cupti is not None and self.times and not self._partly:
            steps = sorted((step.start_ns, step.end_ns) for step in self.recorder.steps)
            self._records = self._cupti.records(steps, self._ahead_ns)
            self._check_late()

    def _check_late(self) -> None:
        """Hold the layouts against a kernel of our own where that would have made a context before the program did."""
        try:
            if devices_in_use():
                check()
        except NotMeasuredError as error:
            self._records = None
            self.notes.append(f"There are lines, but no idle times: {error}")

    def _end_subscription(self) -> None:
        if self._cupti is None or self.calls.has_ended:
            return
        self._witness.stop()
        self.calls.end()
        finish_work()
        self._ahead_ns = self._cupti.ahead_ns()
        self._cupti.close()
        active.set_subscribed(False)

    def recording(self, variant: str) -> Recording:
        """Return what was recorded so far; with times once it has stopped."""
        recorder, found = self.recorder, self._assembled()
        hooked = tuple(map(without_half_a_time, recorder.syncs))
        syncs = (*found.syncs, *hooked)
        coverage = self._coverage(found, counted(syncs))
        plain = recorder.freeze(
            variant,
            coverage,
            modelled=False,
            has_copies=self._has_copies,
            has_kernels=self._has_times,
            used_gpu=bool(found.kernels or found.copies) or used_gpu(syncs),
            notes=tuple(self._all_notes()),
        )
        return replace(
            plain,
            syncs=syncs,
            copies=found.copies.frozen() if self._has_copies else None,
            kernels=found.kernels.frozen() if self._has_times else None,
            event_calls=found.event_calls,
            launch_watch_ns=launch_cost_ns() if self._has_times else 0,
        )

    @property
    def _has_copies(self) -> bool:
        return self._watched and not self._partly

    @property
    def _has_times(self) -> bool:
        return self._records is not None

    def _assembled(self) -> Assembled:
        if self._final is not None:
            return self._final
        found = self._assembly().assembled()
        if self._records is not None:
            self._final = found
            # The kernels are given away, and the rest is joined.
            self._records = replace(self._records, copies=(), waits={}, events=(), looks=Looks())
        return found

    def _assembly(self) -> Assembly:
        stacks = self.calls.native_stacks
        named: dict[int, str | None] = {}

        def operator(call: NotedCall) -> str | None:
            if call.native < 0:
                return named.get(call.stack)
            named[call.stack] = found = self._operators.of(stacks[call.native])
            return found

        return Assembly(
            noted=self.calls.noted(),
            operator=operator,
            thread=self.recorder.native_thread,
            records=self._records,
            steps=tuple(self.recorder.steps),
        )

    def _coverage(self, found: Assembled, seen: tuple[int, int]) -> Coverage:
        driver = (NAME, WITNESS) if self._watched else ()
        blind = () if self._has_times else BLIND_TO[2:]
        names = (*driver, *self._hooks.names, *((RECORDS,) if self._has_times else ()))
        return Coverage(
            tuple(dict.fromkeys(names)),
            blind if self._has_copies else BLIND_TO,
            *seen,
            joins=found.joins,
            warned=self._witness.warned(),
            warned_unseen=None if self._witness.warned() is None else self._witness.unseen(self.calls.waits_at()),
        )

    def _all_notes(self) -> Iterator[str]:
        yield from self.notes
        if self._records is not None and self._records.lost:
            yield f"CUPTI lost {self._records.lost} records: work and waits among them are missing."


def unavailable() -> str | None:
    """Return why CUPTI cannot be subscribed to here, or None."""
    if not has_gpu():
        return "no CUDA GPU: use --device virtual"
    try:
        torch.cuda.init()
        torch.cuda.current_stream().synchronize()
        check()
    except NotMeasuredError as error:
        return str(error)
    return None
