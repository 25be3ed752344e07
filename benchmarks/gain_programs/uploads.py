"""Data that goes to the GPU or comes from it through pageable memory, against pinned memory and no wait."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.gain_programs.machine import Machine
from benchmarks.gain_programs.registry import Step, add, waits

_SMALL, _BIG = 1024, 1 << 20


def upload(machine: Machine, count: int, *, non_blocking: bool, pinned: bool = False) -> Step:
    """Removed: the wait of an upload of float32. Stays: the upload, from pinned memory, which nobody waits for.

    Args:
        machine: what it runs on.
        count: numbers of the upload.
        non_blocking: what the waiting form asks for; from pageable memory the copy holds the host all the same.
        pinned: whether the waiting form uploads from pinned memory too.
    """
    fast = torch.zeros(count).pin_memory()
    slow = fast if pinned else torch.zeros(count)

    @waits
    def upload_numbers() -> torch.Tensor:
        return slow.to("cuda", non_blocking=non_blocking)

    def step(_index: int, remove: bool) -> None:
        machine.gpu(500)
        batch = fast.to("cuda", non_blocking=True) if remove else upload_numbers()
        batch.add_(1)
        machine.gpu(200)
        machine.host(600)

    return step


def upload_list(machine: Machine) -> Step:
    """Removed: the wait of a tensor that is made of a list on the GPU. Stays: the tensor, made in pinned memory."""
    values = list(range(64))

    @waits
    def upload_python_list() -> torch.Tensor:
        return torch.tensor(values, device="cuda")

    def step(_index: int, remove: bool) -> None:
        machine.gpu(500)
        if remove:
            torch.tensor(values, pin_memory=True).to("cuda", non_blocking=True)
        else:
            upload_python_list()
        machine.gpu(200)
        machine.host(500)

    return step


def index_by_list(machine: Machine) -> Step:
    """Removed: the wait of a list that is the index of a GPU tensor. Stays: the index, uploaded from pinned memory."""
    table = torch.zeros(64, 64, device="cuda")
    rows = [3, 1, 4, 15]
    pinned = torch.tensor(rows).pin_memory()

    @waits
    def take_rows() -> torch.Tensor:
        return table[rows]

    def step(_index: int, remove: bool) -> None:
        machine.gpu(500)
        if remove:
            table[pinned.to("cuda", non_blocking=True)]
        else:
            take_rows()
        machine.host(600)

    return step


def download(machine: Machine, count: int) -> Step:
    """Removed: the wait of a result that is copied to the host. Stays: the copy, into pinned memory."""
    result = torch.zeros(count, device="cuda")
    buffer = torch.zeros(count).pin_memory()

    @waits
    def fetch_result() -> torch.Tensor:
        return result.cpu()

    def step(_index: int, remove: bool) -> None:
        machine.gpu(600)
        if remove:
            buffer.copy_(result, non_blocking=True)
        else:
            fetch_result()
        machine.host(600)

    return step


add("upload", "pageable-small", partial(upload, count=_SMALL, non_blocking=False), "upload_numbers")
add("upload", "pageable-4-mib", partial(upload, count=_BIG, non_blocking=False), "upload_numbers")
add("upload", "pageable-held", partial(upload, count=_BIG, non_blocking=True), "upload_numbers")
add("upload", "pinned-blocking", partial(upload, count=_BIG, non_blocking=False, pinned=True), "upload_numbers")
add("upload", "upload-list", upload_list, "upload_python_list")
add("upload", "index-by-list", index_by_list, "take_rows")
add("upload", "download-small", partial(download, count=_SMALL), "fetch_result")
add("upload", "download-4-mib", partial(download, count=_BIG), "fetch_result")
