"""Answers: which Python methods of a tensor need to know of the device? Printing, copying, arrays."""

from __future__ import annotations

from typing import Any

import torch

from syncwatch.sense.virtual import op_names
from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.patching import Patches
from syncwatch.sense.virtual.quiet import quiet
from syncwatch.sense.virtual.residency import is_resident, mark_resident

_NO_HANDING_OUT = "The virtual CUDA device has no GPU memory to hand out through {}. Call .cpu() first."


def patch(patches: Patches, engine: Engine) -> None:
    """Replace the methods."""
    tensor: Any = torch.Tensor
    plain_repr, plain_deepcopy, plain_dlpack = tensor.__repr__, tensor.__deepcopy__, tensor.__dlpack__
    printer: Any = torch._tensor_str

    def text_of(self: torch.Tensor, *, tensor_contents: Any = None) -> Any:
        if not is_resident(self):
            return plain_repr(self, tensor_contents=tensor_contents)
        # torch switches dispatch modes off to print; the reads that printing does are what we are here for.
        with torch.no_grad():
            return printer._str_intern(self, tensor_contents=tensor_contents)

    def deep_copy(self: torch.Tensor, memo: dict[int, Any]) -> Any:
        if not is_resident(self) or id(self) in memo:
            return plain_deepcopy(self, memo)
        with quiet():
            copy = plain_deepcopy(self, memo)
            mark_resident(copy, engine.memory)
            duration = engine.rates.kernel_ns(2 * self.numel() * self.element_size())
        engine.kernel(engine.state(), op_names.COPY, duration)
        return copy

    exchange: Any = torch.utils.dlpack
    plain_capsule = exchange.to_dlpack
    plain_array: Any = tensor.__dict__["__cuda_array_interface__"]

    def hand_out(self: torch.Tensor, **kwargs: Any) -> Any:
        if is_resident(self):
            raise BufferError(_NO_HANDING_OUT.format("DLPack"))
        return plain_dlpack(self, **kwargs)

    def capsule(self: torch.Tensor) -> Any:
        if is_resident(self):
            raise BufferError(_NO_HANDING_OUT.format("DLPack"))
        return plain_capsule(self)

    def array_interface(self: torch.Tensor) -> Any:
        if is_resident(self):
            raise AttributeError(_NO_HANDING_OUT.format("__cuda_array_interface__"))
        return plain_array.fget(self)

    def record_stream(self: torch.Tensor, s: Any) -> None:
        """It only keeps the allocator from reusing memory, and ours reuses none."""

    # Not a handler: torch parses the stream, which is none of its own, before it asks a mode.
    patches.set(torch.Tensor, "record_stream", record_stream)
    patches.set(torch.Tensor, "__repr__", text_of)
    patches.set(torch.Tensor, "__deepcopy__", deep_copy)
    patches.set(torch.Tensor, "__dlpack__", hand_out)
    patches.set(torch.Tensor, "__cuda_array_interface__", property(array_interface))
    for owner in (torch, torch.utils.dlpack, torch._C):
        patches.set_if_there(owner, "to_dlpack" if owner is not torch._C else "_to_dlpack", capsule)
