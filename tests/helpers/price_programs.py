"""Programs whose stall is known: they queue work of known length, wait, and work on the host before the next launch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

QUEUED_MS = 3.0
HOST_MS = 1.0


@dataclass(frozen=True, slots=True)
class Stall:
    """What one step of a program is known to cost, in nanoseconds."""

    queued_ns: int
    """GPU work that was queued before the wait."""
    host_ns: int
    """Host work from the wait to the end of the next launch, as the program itself measured it."""
    idle_streams: bool = False
    """Whether only the stream that was waited for idles, because another stream goes on working."""


class Clock:
    """Queues work of a known length."""

    def __init__(self) -> None:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        cycles = 100_000_000
        torch.cuda._sleep(cycles)
        start.record()
        torch.cuda._sleep(cycles)
        end.record()
        torch.cuda.synchronize()
        self._cycles_per_ms = cycles / start.elapsed_time(end)

    def queue(self, ms: float) -> None:
        """Let the current stream work for `ms`."""
        torch.cuda._sleep(round(ms * self._cycles_per_ms))


def busy(ms: float, launch: Callable[[], object]) -> int:
    """Work on the host for `ms`, then launch; return how long that took, in ns. The GPU idles meanwhile."""
    start = time.perf_counter_ns()
    while time.perf_counter_ns() - start < ms * 1e6:
        pass
    launch()
    return time.perf_counter_ns() - start


def away(ms: float) -> int:
    """Sleep for `ms`, so that other threads can run, and return how long it took, in ns."""
    start = time.perf_counter_ns()
    time.sleep(ms / 1e3)
    return time.perf_counter_ns() - start


Program = Callable[[], Stall]


def one_stream(clock: Clock) -> Program:
    x = torch.ones(1, device="cuda")

    def step() -> Stall:
        clock.queue(QUEUED_MS)
        x.item()
        host = busy(HOST_MS, lambda: x.add_(1))
        return Stall(round(QUEUED_MS * 1e6), host)

    return step


def two_streams(clock: Clock) -> Program:
    x, y = torch.ones(1, device="cuda"), torch.ones(1, device="cuda")
    side = torch.cuda.Stream()
    torch.cuda.synchronize()

    def step() -> Stall:
        with torch.cuda.stream(side):
            clock.queue(QUEUED_MS)
        clock.queue(QUEUED_MS / 2)
        with torch.cuda.stream(side):
            x.item()
        host = busy(HOST_MS, lambda: y.add_(1))
        return Stall(round(QUEUED_MS * 1e6), host)

    return step


def one_of_two_streams(clock: Clock) -> Program:
    x = torch.ones(1, device="cuda")
    side = torch.cuda.Stream()
    torch.cuda.synchronize()

    def step() -> Stall:
        with torch.cuda.stream(side):
            clock.queue(QUEUED_MS + 3 * HOST_MS)
        clock.queue(QUEUED_MS)
        x.item()
        host = busy(HOST_MS, lambda: x.add_(1))
        return Stall(round(QUEUED_MS * 1e6), host, idle_streams=True)

    return step


def two_threads(clock: Clock) -> Program:
    """Another thread queues work and waits too, on a stream of its own, half of `HOST_MS` later."""
    x = torch.ones(1, device="cuda")
    side, mine = torch.cuda.Stream(), torch.cuda.Stream()
    torch.cuda.synchronize()

    def other() -> None:
        with torch.cuda.stream(side):
            away(HOST_MS / 2)
            clock.queue(QUEUED_MS)
            torch.cuda.current_stream().synchronize()

    def step() -> Stall:
        with torch.cuda.stream(mine):
            thread = threading.Thread(target=other, name="other")
            thread.start()
            clock.queue(QUEUED_MS)
            x.item()
            host = busy(HOST_MS, lambda: x.add_(1))
            thread.join()
        return Stall(round(QUEUED_MS * 1e6), host, idle_streams=True)

    return step


def event_wait(clock: Clock) -> Program:
    x = torch.ones(1, device="cuda")

    def step() -> Stall:
        clock.queue(QUEUED_MS)
        done = torch.cuda.Event()
        done.record()
        done.synchronize()
        host = busy(HOST_MS, lambda: x.add_(1))
        return Stall(round(QUEUED_MS * 1e6), host)

    return step


def pageable_copy(clock: Clock) -> Program:
    x = torch.ones(1000, device="cuda")

    def step() -> Stall:
        clock.queue(QUEUED_MS)
        x.cpu()
        host = busy(HOST_MS, lambda: x.add_(1))
        return Stall(round(QUEUED_MS * 1e6), host)

    return step


def held_copy(clock: Clock) -> Program:
    """A copy that was asked not to block, into pageable memory: it holds the host without a synchronization call."""
    x, host_side = torch.ones(1000, device="cuda"), torch.empty(1000)

    def step() -> Stall:
        clock.queue(QUEUED_MS)
        host_side.copy_(x, non_blocking=True)
        host = busy(HOST_MS, lambda: x.add_(1))
        return Stall(round(QUEUED_MS * 1e6), host)

    return step


def backward(clock: Clock) -> Program:
    leaf = torch.ones(1, device="cuda", requires_grad=True)
    taken: list[int] = []

    class Stalls(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: object, grad: torch.Tensor) -> torch.Tensor:
            clock.queue(QUEUED_MS)
            grad.item()
            doubled: list[torch.Tensor] = []
            taken.append(busy(HOST_MS, lambda: doubled.append(grad * 2)))
            return doubled[0]

    def step() -> Stall:
        Stalls.apply(leaf).sum().backward()  # type: ignore[no-untyped-call]
        return Stall(round(QUEUED_MS * 1e6), taken.pop())

    return step


PROGRAMS: dict[str, Callable[[Clock], Program]] = {
    "one stream": one_stream,
    "two streams": two_streams,
    "one of two streams": one_of_two_streams,
    "two threads": two_threads,
    "event wait": event_wait,
    "pageable copy": pageable_copy,
    "copy that holds": held_copy,
    "backward pass": backward,
}


@contextmanager
def drained() -> Iterator[None]:
    """Wait until the GPU has nothing to do, before the block and after it."""
    torch.cuda.synchronize()
    yield
    torch.cuda.synchronize()
