"""Measures a warm-up that nothing has warmed before: in a new process, with an empty Triton cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from syncwatch.errors import NotMeasuredError
from syncwatch.model.session import Session
from syncwatch_scenarios.kernel_warmup.chain import Heads
from syncwatch_scenarios.kernel_warmup.counts import Warmup
from syncwatch_scenarios.kernel_warmup.warm_process import Job

_MODULE = "syncwatch_scenarios.kernel_warmup.warm_process"
_CHOSEN_BY_US = ("TRITON_CACHE_DIR", "TRITON_CACHE_MANAGER", "TRITON_ALWAYS_COMPILE", "TRITON_INTERPRET")
"""Variables that would give the process another cache, or no compiler; the virtual device sets the last."""

TOLERANCE = 0.005
"""Largest relative RMSE against float64: what a correct chain loses by rounding its intermediates to bfloat16."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One process."""

    warmup: Warmup
    session: Session | None
    """The lines that waited, as the recordings `warm-up` and `serving`; None where nothing was watched."""


def measure(variant: str, heads: Heads, seed: int, *, on_gpu: bool, watched: bool = False) -> Measured:
    """Warm up `variant` in a process of its own, wait for it, and remove its cache.

    Raises:
        NotMeasuredError: if the process fails, or serves a wrong result.
    """
    with tempfile.TemporaryDirectory(prefix="syncwatch-kernel-warmup-") as folder:
        answer, session, cache = (Path(folder, name) for name in ("answer.json", "session.json", "cache"))
        job = Job(variant, heads, seed, str(answer), str(session) if watched else None, on_gpu)
        _run(job, cache)
        warmup = msgspec.json.decode(answer.read_bytes(), type=Warmup)
        found = Session.load(session) if watched else None
    for each in warmup.served:
        if each.error is None or each.error > TOLERANCE:
            how = "not finite" if each.error is None else f"off by {each.error:.1e} of its RMS"
            raise NotMeasuredError(
                f"kernel-warmup, {variant}: the output for {each.tokens} tokens is {how}, so that its times mean "
                "nothing. Report the GPU and the Triton version."
            )
    return Measured(warmup, found)


def _run(job: Job, cache: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in _CHOSEN_BY_US}
    ended = subprocess.run(
        [sys.executable, "-m", _MODULE, msgspec.json.encode(job).decode()],
        env={**environment, "TRITON_CACHE_DIR": str(cache)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1]
        raise NotMeasuredError(
            f"kernel-warmup, {job.variant}: the fresh process ended with {last!r}. Check that Triton works here with "
            "`syncwatch doctor`, then run it again."
        )
