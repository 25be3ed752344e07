"""Runs a probe: measures every operator sample, and the rates where there is a GPU."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

from syncwatch.bench.probing.measured import Call, ProbedTable, measure
from syncwatch.bench.probing.rates import measure_rates
from syncwatch.compat.torch_cuda import operator_samples
from syncwatch.errors import NotMeasuredError
from syncwatch.model.session import DeviceKind
from syncwatch.sense.base import WatchedDevice

SAMPLES = 5
"""Samples taken of each operator and type."""
DTYPES = (torch.float32, torch.int64, torch.bool)
_SIGNATURE_LIMIT = 247


def operator_calls(only: str = "") -> Iterator[tuple[Call, str]]:
    """Yield each sample of each operator as a call on "cuda", with its signature.

    The calls are named `operator|variant|dtype|index`, as in `measured_h200.json`.

    Args:
        only: a part of the operators' names.

    Raises:
        NotMeasuredError: if torch's samples cannot be imported.
    """
    for operator in sampled_operators():
        for dtype in DTYPES:
            if only in operator.name and dtype in operator.supported_dtypes("cuda"):
                yield from _calls(operator, dtype)


def sampled_operators() -> list[Any]:
    """Return the operators of torch's own tests.

    Raises:
        NotMeasuredError: if they cannot be imported.
    """
    try:
        return operator_samples()
    except ImportError as error:
        raise NotMeasuredError(
            f"torch's operator samples cannot be imported ({error}). Install them with: pip install 'syncwatch[probe]'."
        ) from error


def _calls(operator: Any, dtype: torch.dtype) -> Iterator[tuple[Call, str]]:
    prefix = f"{operator.name}|{operator.variant_test_name}|{str(dtype).removeprefix('torch.')}"
    torch.manual_seed(0)
    try:
        samples = list(itertools.islice(operator.sample_inputs("cuda", dtype, requires_grad=False), SAMPLES))
    except Exception:
        # Some samplers do not know every type they claim; such an operator has nothing to measure.
        return
    for index, sample in enumerate(samples):
        yield Call(f"{prefix}|{index}", _preparer(operator, sample)), signature(sample)


def _preparer(operator: Any, sample: Any) -> Any:
    return lambda: lambda: operator.op(sample.input, *sample.args, **sample.kwargs)


def signature(sample: Any) -> str:
    """Return the shapes of a sample: they tell whether two versions of torch mean the same one."""
    named = ",".join(f"{name}={_brief(value)}" for name, value in sample.kwargs.items())
    return f"{_brief(sample.input)};{_brief(list(sample.args))};{named}"[:_SIGNATURE_LIMIT]


def _brief(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        where = "" if value.is_cuda else "cpu"
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}{where}"
    if isinstance(value, list | tuple):
        return f"[{','.join(_brief(each) for each in value)}]"
    return repr(value)


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
