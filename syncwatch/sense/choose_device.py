"""Turns the user's choice of a device into the device to watch, and says why when it cannot."""

from __future__ import annotations

import sys
from enum import Enum

from typing_extensions import assert_never

from syncwatch.compat.tried import OLDEST_TORCH, is_too_old, missing_name_sentence
from syncwatch.errors import NotMeasuredError
from syncwatch.sense.base import WatchedDevice
from syncwatch.sense.processes import forked_child


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
    forked_child.register()
    if choice is DeviceChoice.AUTO:
        return open_device(DeviceChoice.VIRTUAL if _is_virtual() else DeviceChoice.CUDA)
    if choice is DeviceChoice.CUDA:
        from syncwatch.sense.cuda.gpu import CudaDevice

        return CudaDevice()
    if choice is DeviceChoice.VIRTUAL:
        return _virtual_device()
    assert_never(choice)


def _virtual_device() -> WatchedDevice:
    """Return the virtual device; names of torch that it uses and that are gone are a sentence, not a traceback.

    Raises:
        NotMeasuredError: if it cannot be put on here.
    """
    try:
        from syncwatch.sense.virtual.device import WatchedVirtualDevice

        return WatchedVirtualDevice()
    except (ImportError, AttributeError) as error:
        raise NotMeasuredError(missing_name_sentence(f"cannot be put on ({error})")) from error


def _is_virtual() -> bool:
    """Return whether `auto` means the virtual device: it is on already, or there is no GPU."""
    from syncwatch.sense.cuda.start import has_gpu

    virtual = sys.modules.get("syncwatch.sense.virtual.device")
    return not has_gpu() or (virtual is not None and virtual.running_engine() is not None)


def require_torch() -> None:
    """Refuse a torch that is missing or too old.

    Raises:
        NotMeasuredError: with what to install.
    """
    try:
        import torch
    except ImportError as error:
        raise NotMeasuredError(f"torch cannot be imported ({error}). Install torch {OLDEST_TORCH} or newer.") from error
    if is_too_old(str(torch.__version__)):
        raise NotMeasuredError(
            f"torch {torch.__version__} is too old to be watched. Install torch {OLDEST_TORCH} or newer."
        )
