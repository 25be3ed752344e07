"""How long things take on the virtual device, by stated rates, each with its source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

SCHEMA = "syncwatch.rates/1"


@dataclass(frozen=True, slots=True)
class Rates:
    """What things cost, as integers; the sources are in the data file."""

    kernel_launch_ns: int
    copy_launch_ns: int
    view_ns: int
    """An operator that launches nothing."""
    host_op_ns: int
    """An operator on CPU tensors, besides its bytes."""
    copy_latency_ns: int
    sync_return_ns: int
    """From the end of what was waited for until the host goes on."""
    min_kernel_ns: int
    hbm_bytes_per_us: int
    pinned_bytes_per_us: int
    pageable_bytes_per_us: int
    host_bytes_per_us: int
    flops_per_us_half: int
    flops_per_us_single: int
    flops_per_us_double: int
    capacity_bytes: int

    def kernel_ns(self, size: int, flops: int = 0, width: int = 4) -> int:
        """Return the device time of a kernel that moves `size` bytes and computes `flops` on `width`-byte numbers."""
        duration = size * 1000 // self.hbm_bytes_per_us
        if duration < self.min_kernel_ns:
            duration = self.min_kernel_ns
        if flops:
            duration = max(duration, flops * 1000 // self._flops_per_us(width))
        return duration

    def copy_ns(self, size: int, *, pinned: bool) -> int:
        """Return the engine time of a copy between host and device."""
        rate = self.pinned_bytes_per_us if pinned else self.pageable_bytes_per_us
        return self.copy_latency_ns + size * 1000 // rate

    def host_ns(self, size: int) -> int:
        """Return the host time of an operator on CPU tensors of `size` bytes."""
        return self.host_op_ns + size * 1000 // self.host_bytes_per_us

    def _flops_per_us(self, width: int) -> int:
        if width <= 2:
            return self.flops_per_us_half
        return self.flops_per_us_single if width <= 4 else self.flops_per_us_double


def parse(text: str) -> Rates:
    """Return the rates in a data file.

    Raises:
        ValueError: if it is not such a file, or a rate is missing, unknown or not a positive integer.
    """
    document = json.loads(text)
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        raise ValueError(f"not a {SCHEMA} file")
    values = {name: entry[0] for name, entry in document["rates"].items()}
    for name, value in values.items():
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"{name} must be a positive integer, not {value!r}")
    try:
        return Rates(**values)
    except TypeError as error:
        raise ValueError(str(error)) from error


@lru_cache(maxsize=1)
def h200() -> Rates:
    """Return the shipped rates of an H200."""
    return parse(resources.files(__package__).joinpath("rates_h200.json").read_text(encoding="utf-8"))
