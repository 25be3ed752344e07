"""Answers: which device is watched? Turns a choice into one, and says why when it cannot."""

from __future__ import annotations

import re
import sys
from enum import Enum

from typing_extensions import assert_never

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.base import WatchedDevice

MINIMUM_TORCH = (2, 9)


class DeviceChoice(str, Enum):
    """What `--device` takes."""

    AUTO = "auto"
    CUDA = "cuda"
    VIRTUAL = "virtual"


def open_device(choice: DeviceChoice) -> WatchedDevice:
    """Return the device to watch: for `auto` the GPU if there is one, else the virtual device.

    Open it before the target imports triton: the virtual device runs kernels in Triton's interpreter, which has to
    be chosen first. Close it when done.

    Raises:
        NotMeasuredError: if there is no such device, or torch is missing or too old.
    """
    require_torch()
    if choice is DeviceChoice.AUTO:
        return open_device(DeviceChoice.VIRTUAL if _is_virtual() else DeviceChoice.CUDA)
    if choice is DeviceChoice.CUDA:
        from syncwatch.sense.cuda import CudaDevice

        return CudaDevice()
    if choice is DeviceChoice.VIRTUAL:
        from syncwatch.sense.virtual.watched import WatchedVirtualDevice

        return WatchedVirtualDevice()
    assert_never(choice)


def _is_virtual() -> bool:
    """Return whether `auto` means the virtual device: it is on already, or there is no GPU."""
    from syncwatch.sense.cuda_start import has_gpu

    virtual = sys.modules.get("syncwatch.sense.virtual.device")
    return not has_gpu() or (virtual is not None and virtual.running_engine() is not None)


def require_torch() -> None:
    """Refuse a torch that is missing or too old.

    Raises:
        NotMeasuredError: with what to install.
    """
    wanted = ".".join(map(str, MINIMUM_TORCH))
    try:
        import torch
    except ImportError as error:
        raise NotMeasuredError(f"torch cannot be imported ({error}). Install torch {wanted} or newer.") from error
    found = re.match(r"(\d+)\.(\d+)", str(torch.__version__))
    if found is None or (int(found[1]), int(found[2])) < MINIMUM_TORCH:
        raise NotMeasuredError(f"torch {torch.__version__} is too old to be watched. Install torch {wanted} or newer.")
