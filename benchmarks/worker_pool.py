"""Runs many measurements, several at once and each in a fresh process, so that one that dies ends no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATHS = (ROOT, ROOT / "kernels", ROOT / "scenarios")
_LAST_WORDS = 300


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended."""

    name: str
    why: str
    """Why it failed; empty where it ended with 0."""


def run_all(
    commands: Iterable[tuple[str, list[str]]],
    jobs: int,
    timeout: float,
    device: str,
    on_end: Callable[[Ended], None],
) -> None:
    """Run each command in a process of its own, and call `on_end` as each of them ends.

    Args:
        commands: for each process its name, and the arguments of `python`.
        jobs: how many run at once.
        timeout: seconds that one may take; then it is killed.
        device: "virtual" hides the GPU from the process.
        on_end: called with the end of each process, on the calling thread, in the order in which they end.
    """
    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(_run, name, command, timeout, _environment(device)) for name, command in commands]
        for each in as_completed(running):
            on_end(each.result())


def jobs_here(asked: int) -> int:
    """Return how many processes run at once: `asked`, or for 0 half of the cores, at least two and at most ten."""
    return asked or min(max((os.cpu_count() or 2) // 2, 2), 10)


def _environment(device: str) -> dict[str, str]:
    path = os.pathsep.join([*map(str, PATHS), *filter(None, [os.environ.get("PYTHONPATH", "")])])
    changes = {
        "PYTHONPATH": path,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "WANDB_MODE": "disabled",
    }
    if device == "virtual":
        changes["CUDA_VISIBLE_DEVICES"] = ""
    return {**os.environ, **changes}


def _run(name: str, command: list[str], timeout: float, environment: dict[str, str]) -> Ended:
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        _, said = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        # Data loaders leave children behind that hold the pipe open.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Ended(name, f"not done after {timeout:g} s")
    return Ended(name, "" if process.returncode == 0 else f"exit {process.returncode}: {said.strip()[-_LAST_WORDS:]}")
