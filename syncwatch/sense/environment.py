"""The environment that a measurement belongs to: versions and the device, and nothing private."""

from __future__ import annotations

import platform

import torch

from syncwatch.compat.tried import installed
from syncwatch.model.session import DeviceKind, Environment
from syncwatch.version import __version__


def environment(device: DeviceKind, gpu: str | None) -> Environment:
    """Return the environment of this process; `gpu` is the device's name."""
    return Environment(
        torch=str(torch.__version__),
        triton=installed("triton"),
        gpu=gpu,
        driver=_driver() if device is DeviceKind.CUDA else None,
        python=platform.python_version(),
        syncwatch=__version__,
    )


def _driver() -> str | None:
    try:
        with open("/proc/driver/nvidia/version", encoding="utf-8") as file:
            words = file.readline().split()
    except OSError:
        return None
    return next((word for word in words if word[:1].isdigit() and "." in word), None)
