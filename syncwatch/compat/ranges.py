"""What ranges of torch and nvtx go through at their bottom, beneath the functions that programs import."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from syncwatch.compat.private_name import PrivateName

_TORCH = "2.9 to 2.15"
_UNHEARD = "is not heard, so waits inside have no range of that kind."

TORCH_NVTX = PrivateName("torch.cuda.nvtx._nvtx", _TORCH, f"`torch.cuda.nvtx` {_UNHEARD}")
ENTER = PrivateName("torch.ops.profiler._record_function_enter", _TORCH, f"`record_function` {_UNHEARD}")
ENTER_NEW = PrivateName("torch.ops.profiler._record_function_enter_new", _TORCH, f"`record_function` {_UNHEARD}")
EXIT = PrivateName("torch.ops.profiler._record_function_exit", _TORCH, f"`record_function` {_UNHEARD}")
EXIT_LATER = PrivateName(
    "torch.ops.profiler._call_end_callbacks_on_jit_fut",
    _TORCH,
    "a `record_function` whose end waits for a future ends where its future does.",
)
NVTX_LIBRARY = PrivateName("nvtx._lib.lib", "0.2.8 to 0.2.14", f"the package nvtx {_UNHEARD}")
BACKWARD = PrivateName(
    "torch.autograd.graph._engine_run_backward",
    _TORCH,
    "waits of autograd's threads in a warm-up step count as outside every step.",
)
"""The function of torch that waits while autograd's threads work."""
NAMES = (TORCH_NVTX, ENTER, ENTER_NEW, EXIT, EXIT_LATER, NVTX_LIBRARY, BACKWARD)


def overloads_of(name: PrivateName) -> Iterator[Any]:
    """Yield the operator `name` with its overloads, each of which can be called by itself; none where it is gone."""
    packet = name.get_or(None)
    if packet is not None:
        yield packet
        yield from (getattr(packet, overload) for overload in packet.overloads())
