"""Measures how fast this GPU is at what the virtual clock charges for. Medians, in the units of the rates file."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from syncwatch.compat.torch_cuda import spin

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
