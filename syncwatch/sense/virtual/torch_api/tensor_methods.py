"""What tensors of the device must not hand out, and what their untyped storages do."""

from __future__ import annotations

from typing import Any

import torch

from syncwatch.compat import torch_cuda as names
from syncwatch.errors import NotMeasuredError
from syncwatch.sense.patching import Patches

_NO_HANDING_OUT = "The virtual CUDA device has no GPU memory to hand out through {}. Call .cpu() first."


def patch(patches: Patches) -> None:
    """Replace the methods."""
    tensor: Any = torch.Tensor
    plain_dlpack = tensor.__dlpack__
    exchange: Any = torch.utils.dlpack
    plain_capsule = exchange.to_dlpack
    plain_array: Any = tensor.__dict__["__cuda_array_interface__"]

    def hand_out(self: torch.Tensor, **kwargs: Any) -> Any:
        if self.is_cuda:
            raise BufferError(_NO_HANDING_OUT.format("DLPack"))
        return plain_dlpack(self, **kwargs)

    def capsule(self: torch.Tensor) -> Any:
        if self.is_cuda:
            raise BufferError(_NO_HANDING_OUT.format("DLPack"))
        return plain_capsule(self)

    def array_interface(self: torch.Tensor) -> Any:
        if self.is_cuda:
            raise AttributeError(_NO_HANDING_OUT.format("__cuda_array_interface__"))
        return plain_array.fget(self)

    def record_stream(self: torch.Tensor, s: Any) -> None:
        """Keep the allocator from giving the memory to others before `s` has done its work."""
        if self.is_cuda and self.layout is torch.strided:
            torch.ops.syncwatch.record_stream(self.untyped_storage(), s.stream_id)

    patches.set(torch.Tensor, "record_stream", record_stream)
    patches.set(torch.Tensor, "__dlpack__", hand_out)
    patches.set(torch.Tensor, "__cuda_array_interface__", property(array_interface))
    for owner in (torch, torch.utils.dlpack):
        patches.set_if_there(owner, "to_dlpack", capsule)
    patches.set_private_if_there(names.TO_DLPACK, capsule)


def patch_storages(patches: Patches) -> None:
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
