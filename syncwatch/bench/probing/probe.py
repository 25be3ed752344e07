"""Runs a probe: measures every operator sample, and the rates where there is a GPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

from syncwatch.bench.probing.measured import measure
from syncwatch.bench.probing.operators import operator_calls
from syncwatch.bench.probing.rates import measure_rates
from syncwatch.bench.probing.table import ProbedTable
from syncwatch.model.session import DeviceKind
from syncwatch.sense.base import WatchedDevice

Progress = Callable[[str, int, int], None]
"""Called with the phase, the calls done and the calls to do."""


def probe(device: WatchedDevice, progress: Progress, only: str = "") -> ProbedTable:
    """Return what the installed torch does on `device`.

    Args:
        device: the GPU; or the virtual device, to compare it with a GPU's table.
        progress: told how far it is.
        only: a part of the operators' names; the rates are then left out.

    Raises:
        NotMeasuredError: if torch's operator samples are not installed.
    """
    progress("collect operators", 0, 0)
    torch.zeros(1, device="cuda")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calls = list(operator_calls(only))
        total = len(calls)
        measured, failed = measure(
            [call for call, _ in calls], device, lambda done: progress("measure operators", done, total)
        )
    rates: dict[str, int] = {}
    if device.kind is DeviceKind.CUDA and not only:
        progress("measure rates", 0, 0)
        rates = measure_rates()
    return ProbedTable(
        environment=device.environment(),
        operators=measured,
        signatures={call.name: signature for call, signature in calls if call.name in measured},
        failed=failed,
        rates=rates,
    )
