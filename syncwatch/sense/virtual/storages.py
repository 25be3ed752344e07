"""Answers: where does a storage say that it is? Saving, loading and pickling ask it, not the tensor."""

from __future__ import annotations

from typing import Any

import torch

from syncwatch.sense.virtual import op_names
from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.patching import Patches
from syncwatch.sense.virtual.places import CUDA, Place, place_named
from syncwatch.sense.virtual.quiet import quiet
from syncwatch.sense.virtual.residency import is_storage_resident, mark_storage
from syncwatch.sense.virtual.runtime_calls import read_pageable, upload


def patch(patches: Patches, engine: Engine) -> None:
    """Let storages tell their device, and copy between host and device."""
    kind: Any = torch.UntypedStorage
    plain_device, plain_cpu, plain_to, plain_clone = kind.device, kind.cpu, kind.to, kind.clone
    plain_write = kind._write_file

    def device(self: Any) -> Any:
        return CUDA if is_storage_resident(self) else plain_device.__get__(self)

    def clone(self: Any) -> Any:
        if not is_storage_resident(self):
            return plain_clone(self)
        copy = _host_copy(self)
        mark_storage(copy, engine.memory)
        return copy

    def cpu(self: Any) -> Any:
        if not is_storage_resident(self):
            return plain_cpu(self)
        read_back(self)
        return _host_copy(self)

    def read_back(self: Any) -> None:
        # Triton's interpreter copies its arguments this way too; the modes are off then.
        if self.nbytes() and torch._C._is_torch_function_enabled():
            engine.run(engine.state(), read_pageable(self.nbytes()), op_names.COPY)

    def write_file(self: Any, *arguments: Any) -> None:
        if is_storage_resident(self):
            read_back(self)
        plain_write(self, *arguments)

    def to(self: Any, *, device: Any, non_blocking: bool = False) -> Any:
        place = place_named(device)
        if place is Place.HOST:
            return self.cpu()
        if place is Place.ELSEWHERE:
            return plain_to(self, device=device, non_blocking=non_blocking)
        if is_storage_resident(self):
            return self
        copy = _host_copy(self)
        mark_storage(copy, engine.memory)
        if self.nbytes():
            engine.run(engine.state(), upload(self.nbytes()), op_names.COPY)
        return copy

    patches.set(kind, "clone", clone)
    patches.set(kind, "_write_file", write_file)
    patches.set(kind, "device", property(device))
    patches.set(kind, "is_cuda", property(is_storage_resident))
    patches.set(kind, "cpu", cpu)
    patches.set(kind, "to", to)
    patches.set(kind, "cuda", lambda self, device=None, non_blocking=False: self.to(device=CUDA))


def _host_copy(storage: Any) -> Any:
    kind: Any = torch.UntypedStorage
    with quiet():
        return kind(storage.nbytes()).copy_(storage)
