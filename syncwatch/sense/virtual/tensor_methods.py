"""Answers: which Python methods of a tensor need to know of the device? Printing, copying, arrays."""

from __future__ import annotations

from typing import Any

import torch

from syncwatch.sense.virtual import op_names
from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.patching import Patches
from syncwatch.sense.virtual.quiet import quiet
from syncwatch.sense.virtual.residency import is_resident, mark_resident


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

    def hand_out(self: torch.Tensor, **kwargs: Any) -> Any:
        if is_resident(self):
            raise BufferError(
                "The virtual CUDA device has no GPU memory to hand out through DLPack. Call .cpu() first."
            )
        return plain_dlpack(self, **kwargs)

    def record_stream(self: torch.Tensor, s: Any) -> None:
        """It only keeps the allocator from reusing memory, and ours reuses none."""

    # Not a handler: torch parses the stream, which is none of its own, before it asks a mode.
    patches.set(torch.Tensor, "record_stream", record_stream)
    patches.set(torch.Tensor, "__repr__", text_of)
    patches.set(torch.Tensor, "__deepcopy__", deep_copy)
    patches.set(torch.Tensor, "__dlpack__", hand_out)
