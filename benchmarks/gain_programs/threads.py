"""Two threads: one reads what the other launched, or both launch and one reads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from threading import Thread

import torch

from benchmarks.gain_programs.machine import Machine
from benchmarks.gain_programs.registry import Step, add, waits


@waits
def read_in_reader(value: torch.Tensor) -> object:
    return value.item()


@waits
def read_in_worker(value: torch.Tensor) -> object:
    return value.item()


@waits
def read_beside_worker(value: torch.Tensor) -> object:
    return value.item()


def reader(machine: Machine) -> Step:
    """Removed: the reads of a thread that is handed results. Stays: the thread; the main one launches and computes."""
    results: Queue[tuple[torch.Tensor, bool] | None] = Queue(maxsize=4)

    def read_all() -> None:
        while (found := results.get()) is not None:
            value, remove = found
            if not remove:
                read_in_reader(value)
            results.task_done()

    thread = Thread(target=read_all, name="reader", daemon=True)
    thread.start()
    machine.settled.append(results.join)
    machine.ended += [lambda: results.put(None), thread.join]

    def step(_index: int, remove: bool) -> None:
        results.put((machine.gpu(500), remove))
        machine.host(700)

    return step


def _pool(machine: Machine) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(1, thread_name_prefix="worker")
    machine.ended.append(pool.shutdown)
    return pool


def worker_reads(machine: Machine) -> Step:
    """Removed: the read of a worker, on a stream of its own. Stays: what both launch, and the step's end with it."""
    pool, side = _pool(machine), torch.cuda.Stream()

    def work(remove: bool) -> None:
        with torch.cuda.stream(side):
            value = machine.gpu(400)
            if not remove:
                read_in_worker(value)
        machine.host(200)

    def step(_index: int, remove: bool) -> None:
        part = pool.submit(work, remove)
        machine.gpu(400)
        machine.host(200)
        part.result()

    return step


def main_reads(machine: Machine) -> Step:
    """Removed: the read of the main thread. Stays: a worker that launches meanwhile, on a stream of its own."""
    pool, side = _pool(machine), torch.cuda.Stream()

    def work() -> None:
        with torch.cuda.stream(side):
            machine.light(16)

    def step(_index: int, remove: bool) -> None:
        part = pool.submit(work)
        value = machine.gpu(500)
        if not remove:
            read_beside_worker(value)
        machine.host(500)
        part.result()

    return step


add("thread", "reader-thread", reader, "read_in_reader", real_threads=True)
add("thread", "worker-reads", worker_reads, "read_in_worker", real_threads=True)
add("thread", "main-reads", main_reads, "read_beside_worker", real_threads=True)
