"""Waits inside libraries, where torch warns of none, under the CUDA sensors; prints the line found for each wait."""

from __future__ import annotations

import ctypes

import torch

from syncwatch.attribute.sites import attribute
from syncwatch.model.events import SyncKind
from syncwatch.sense.choose_device import DeviceChoice, open_device


def work(matrix: torch.Tensor, pairs: torch.Tensor, driver: ctypes.CDLL) -> None:
    torch.linalg.eigh(matrix)
    torch.unique(pairs, dim=0)
    driver.cuStreamSynchronize(None)


def main() -> None:
    device = open_device(DeviceChoice.CUDA)
    inputs = (torch.eye(16, device="cuda"), torch.randint(0, 3, (50, 2), device="cuda"), ctypes.CDLL("libcuda.so.1"))
    work(*inputs)
    with device.watch("libraries") as sensed:
        work(*inputs)
    assert sensed.recording is not None
    for sync, finding in zip(sensed.recording.syncs, attribute(sensed.recording), strict=True):
        if sync.kind is not SyncKind.ALLOCATION and finding is not None:
            print(finding.source)


if __name__ == "__main__":
    main()
