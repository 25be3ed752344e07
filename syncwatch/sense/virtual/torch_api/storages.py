"""What untyped storages of the device do: torch's own code knows CUDA only where it was built for it."""

from __future__ import annotations

from typing import Any

import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.patching import Patches


def patch(patches: Patches) -> None:
    """Let storages be made on the device and resized there, and refuse to hand them to other processes."""
    kind: Any = torch.UntypedStorage
    plain = kind.__new__
    plain_resize = kind.resize_

    def resize(self: Any, size: int) -> Any:
        if self.device.type != "cuda":
            return plain_resize(self, size)
        torch.ops.syncwatch.resize_storage(self, size)
        return self

    def share(self: Any, *arguments: Any, **named: Any) -> Any:
        raise NotMeasuredError(
            "The virtual device cannot share its tensors with other processes. Send them as .cpu(), or use "
            "--device cuda."
        )

    def make(cls: Any, *arguments: Any, **named: Any) -> Any:
        device = named.get("device")
        if device is None or torch.device(device).type != "cuda":
            return plain(cls, *arguments, **named)
        size = arguments[0] if arguments else 0
        if isinstance(size, int):
            return torch.empty(size, dtype=torch.uint8, device=device).untyped_storage()
        return torch.tensor(list(size), dtype=torch.uint8, device=device).untyped_storage()

    patches.set(kind, "__new__", staticmethod(make))
    patches.set(kind, "resize_", resize)
    patches.set(kind, "_share_cuda_", share)
