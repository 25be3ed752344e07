"""Runs a probe: measures every operator sample, and how fast a GPU is at what the virtual clock charges for."""

from __future__ import annotations

import itertools
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

from syncwatch.bench.probing.measured import ProbedCall, ProbedTable, measure
from syncwatch.compat.torch_cuda import operator_samples, spin
from syncwatch.errors import NotMeasuredError
from syncwatch.model.session import DeviceKind
from syncwatch.sense.base import WatchedDevice

REPEATS = 30
_MIB = 1 << 20


def measure_rates() -> dict[str, int]:
    """Return the measured rates by name; times in ns, bandwidths in bytes per microsecond."""
    return {
        "kernel_launch_ns": _host_ns(_adder(), 200),
        "copy_launch_ns": _host_ns(_uploader(4, pinned=True), 100),
        "sync_return_ns": _sync_return_ns(),
        "min_kernel_ns": _device_ns(_adder()),
        "copy_latency_ns": _device_ns(_uploader(4, pinned=True)),
        "view_ns": _host_ns(_viewer(), 200),
        "hbm_bytes_per_us": _bandwidth(2 * 2048 * _MIB, _device_copier(2048 * _MIB)),
        "pinned_bytes_per_us": _bandwidth(256 * _MIB, _uploader(256 * _MIB, pinned=True)),
        "pageable_bytes_per_us": _bandwidth(256 * _MIB, _uploader(256 * _MIB, pinned=False)),
        "flops_per_us_half": _flops(8192, torch.bfloat16),
        "flops_per_us_single": _flops(4096, torch.float32),
        "flops_per_us_double": _flops(4096, torch.float64),
        "capacity_bytes": int(torch.cuda.get_device_properties(0).total_memory),
    }


def _adder() -> Callable[[], object]:
    x = torch.zeros(1024, device="cuda")
    return lambda: x.add_(1)


def _viewer() -> Callable[[], object]:
    x = torch.zeros(1024, device="cuda")
    return lambda: x.view(32, 32)


def _uploader(size: int, *, pinned: bool) -> Callable[[], object]:
    host = torch.zeros(size, dtype=torch.uint8, pin_memory=pinned)
    device = torch.zeros(size, dtype=torch.uint8, device="cuda")
    return lambda: device.copy_(host, non_blocking=True)


def _device_copier(size: int) -> Callable[[], object]:
    source = torch.ones(size, dtype=torch.uint8, device="cuda")
    target = torch.zeros_like(source)
    return lambda: target.copy_(source)


def _host_ns(act: Callable[[], object], calls: int) -> int:
    """Return the host's own time of one call, the device being idle when the calls begin."""
    found: list[float] = []
    for _ in range(REPEATS):
        torch.cuda.synchronize()
        start = time.perf_counter_ns()
        for _ in range(calls):
            act()
        found.append((time.perf_counter_ns() - start) / calls)
    return round(statistics.median(found))


def _device_ns(act: Callable[[], object]) -> int:
    """Return the device's time of one call: the slope over many, behind queued work that hides the launches."""
    calls = 200
    found: list[float] = []
    for _ in range(REPEATS):
        spin(20_000_000)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(calls):
            act()
        end.record()
        torch.cuda.synchronize()
        found.append(start.elapsed_time(end) * 1e6 / calls)
    return round(statistics.median(found))


def _sync_return_ns() -> int:
    """Return what a wait for an idle stream costs the host."""
    stream = torch.cuda.current_stream()
    return _host_ns(stream.synchronize, 200)


def _span_us(act: Callable[[], object]) -> float:
    found: list[float] = []
    act()
    for _ in range(REPEATS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        act()
        end.record()
        torch.cuda.synchronize()
        found.append(start.elapsed_time(end) * 1e3)
    return statistics.median(found)


def _bandwidth(size: int, act: Callable[[], object]) -> int:
    return round(size / _span_us(act))


def _flops(size: int, dtype: torch.dtype) -> int:
    """Return operations per microsecond of a square matrix product on random data; zeros would run faster."""
    a, b = (torch.randn(size, size, device="cuda", dtype=dtype) for _ in range(2))
    return round(2 * size**3 / _span_us(lambda: a @ b))


SAMPLES = 5
"""Samples taken of each operator and type."""
DTYPES = (torch.float32, torch.int64, torch.bool)
_SIGNATURE_LIMIT = 247


def operator_calls(only: str = "") -> Iterator[tuple[ProbedCall, str]]:
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


def _calls(operator: Any, dtype: torch.dtype) -> Iterator[tuple[ProbedCall, str]]:
    prefix = f"{operator.name}|{operator.variant_test_name}|{str(dtype).removeprefix('torch.')}"
    torch.manual_seed(0)
    try:
        samples = list(itertools.islice(operator.sample_inputs("cuda", dtype, requires_grad=False), SAMPLES))
    except Exception:
        # Some samplers do not know every type they claim; such an operator has nothing to measure.
        return
    for index, sample in enumerate(samples):
        yield ProbedCall(f"{prefix}|{index}", _preparer(operator, sample)), signature(sample)


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
