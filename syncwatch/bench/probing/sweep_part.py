"""One process of a sweep: tries its operators in turn, and says which case it is at.

    python -m syncwatch.bench.probing.sweep_part STEM DEVICE

It reads STEM.in and writes STEM.lines, an operator a line. STEM.at names the case that runs: it may end the process.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch

from syncwatch.bench.probing.measured import _measured
from syncwatch.bench.probing.sweep import CaseResult, SweepOperator
from syncwatch.bench.probing.sweep_cases import SweepCase, cases, tensors_in
from syncwatch.model.session import DeviceKind
from syncwatch.sense.base import WatchedDevice
from syncwatch.sense.choose_device import DeviceChoice, open_device
from syncwatch.sense.scopes.ranges import step

_POISONED = ("CUDA error", "device-side assert", "AcceleratorError", "CUBLAS_STATUS", "cuDNN error")
_LARGEST_RESULT = 200_000_000
"""Elements."""
_HOST_MEMORY = 24 << 30
"""Address space of a process without a GPU, so that a result that is too large is refused rather than swapped."""


class PartRequest(msgspec.Struct):
    """What one process does."""

    operators: list[str]
    skip: list[str]
    """Cases that ended a process before."""
    only: dict[str, list[str]] | None
    """Operator to the cases to try; None tries all."""
    limit_s: float
    """What one case may be expected to take."""
    full: bool = True


def main(stem: Path, choice: DeviceChoice) -> None:
    """Try the operators that `stem` asks for."""
    warnings.simplefilter("ignore")
    asked = msgspec.json.decode(stem.with_suffix(".in").read_bytes(), type=PartRequest)
    with contextlib.closing(open_device(choice)) as device, stem.with_suffix(".lines").open("wb", buffering=0) as lines:
        if device.kind is DeviceKind.VIRTUAL:
            _bounded()
        torch.zeros(1, device="cuda")
        environment = device.environment()
        about = {"device": device.kind.value, "gpu": environment.gpu, "torch": environment.torch}
        lines.write(msgspec.json.encode(about) + b"\n")
        at = stem.with_suffix(".at").open("w+")
        for name in asked.operators:
            operator = _try(device, name, asked, at)
            lines.write(msgspec.json.encode(operator) + b"\n")
            if operator.broke:
                sys.stderr.write(f"{operator.broke} broke the context\n")
                sys.stderr.flush()
                os._exit(3)
        at.truncate(0)


def _bounded() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_HOST_MEMORY, _HOST_MEMORY))


def _try(device: WatchedDevice, name: str, asked: PartRequest, at: Any) -> SweepOperator:
    operator = SweepOperator(name)
    ran: list[SweepCase] = []
    expected = _Costs(asked.limit_s)
    with device.watch("sweep", times=False) as sensed:
        for case in _left(name, asked, operator, expected):
            at.seek(0)
            at.truncate()
            at.write(case.name)
            at.flush()
            failed, entered = _one(device, case, expected)
            if any(said in failed for said in _POISONED):
                operator.broke = case.name
                return operator
            if failed:
                operator.failed[case.name] = failed
            # A step that was entered has its number, also where the call failed in it.
            ran += [case] if entered else []
    if sensed.recording is not None:
        for index, case in enumerate(ran):
            if case.name not in operator.failed:
                measured = _measured(sensed.recording, index, None)
                operator.cases[case.name] = CaseResult(measured.syncs, measured.copies)
                operator.signatures[case.group] = case.signature
    return operator


def _left(name: str, asked: PartRequest, operator: SweepOperator, expected: _Costs) -> Iterator[SweepCase]:
    """Yield the cases to try, and note those that are not."""
    only = None if asked.only is None else set(asked.only[name])
    for case in cases(name, asked.full):
        if only is not None and case.name not in only:
            continue
        if case.name in asked.skip:
            operator.failed[case.name] = "ended the process"
            continue
        why_not = expected.why_not(case)
        if why_not:
            operator.stopped[case.name] = why_not
            continue
        yield case


class _Costs:
    """What the cases of an operator cost so far, and so what a larger one is expected to."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._last: dict[str, tuple[int, float, int]] = {}

    def note(self, case: SweepCase, seconds: float, results: int) -> None:
        """Note what `case` took and how many elements it gave."""
        self._last[case.group] = (case.size, seconds, results)

    def why_not(self, case: SweepCase) -> str:
        """Return why the case is left out; empty where it is not."""
        if case.group not in self._last:
            return ""
        size, seconds, results = self._last[case.group]
        ratio = case.size / size
        if ratio > 1 and seconds * ratio > self._limit_s and seconds > 0.01:
            return f"{size} elements took {seconds:.2f} s"
        if results > 4 * size and results * ratio * ratio > _LARGEST_RESULT:
            return f"{size} elements gave {results}"
        return ""


def _one(device: WatchedDevice, case: SweepCase, expected: _Costs) -> tuple[str, bool]:
    """Run one case; return why it could not run, else nothing, and whether its step was entered."""
    entered = False
    try:
        began = time.perf_counter()
        act = case.prepare()
        torch.cuda.synchronize()
        if device.kind is DeviceKind.CUDA:
            result = act()  # handles, modules and workspaces are made by the first
            torch.cuda.synchronize()
            expected.note(case, time.perf_counter() - began, _elements(result))
            del result
            act = case.prepare()
            torch.cuda.synchronize()
        entered = True
        with step():
            result = act()
        torch.cuda.synchronize()
        expected.note(case, time.perf_counter() - began, _elements(result))
    except Exception as error:
        said = str(error).strip()
        return f"{type(error).__name__}: {said.splitlines()[0][:300] if said else ''}", entered
    return "", entered


def _elements(result: object) -> int:
    return sum(each.numel() for each in tensors_in(result) if not each.is_nested)


if __name__ == "__main__":
    main(Path(sys.argv[1]), DeviceChoice(sys.argv[2]))
