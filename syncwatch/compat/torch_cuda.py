"""What is asked of torch by undocumented names: by the sensors, by the virtual device, and to hear ranges."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from syncwatch.compat.private_name import Builds, PrivateName
from syncwatch.errors import NotMeasuredError

_TRIED = "2.9 to 2.15"

BUILT_FOR_CUDA = PrivateName("torch._C._has_cuda", _TRIED, "this torch counts as one without CUDA.")
"""Unlike `torch.version.cuda`, the virtual device does not change it."""
GET_DEBUG_MODE = PrivateName(
    "torch._C._cuda_get_sync_debug_mode",
    _TRIED,
    "the sync debug mode could only be read by a function that initialises CUDA, so the debug mode is not used.",
    Builds.FOR_CUDA,
)
SET_DEBUG_MODE = PrivateName(
    "torch._C._cuda_set_sync_debug_mode",
    _TRIED,
    "the sync debug mode could only be set by a function that initialises CUDA, so the debug mode is not used.",
    Builds.FOR_CUDA,
)
COUNT_DEVICES = PrivateName(
    "torch._C._cuda_getDeviceCount",
    _TRIED,
    "this torch counts as one without CUDA, so only the virtual device can be watched.",
    Builds.FOR_CUDA,
)
COUNT_BY_NVML = PrivateName(
    "torch.cuda._device_count_nvml",
    _TRIED,
    "GPUs are counted through the driver, which a forked child cannot use afterwards.",
)
CALL_AT_START = PrivateName(
    "torch.cuda._lazy_call",
    _TRIED,
    "a watch initialises CUDA at its begin, not when the program does.",
)
SYNCHRONIZE = PrivateName(
    "torch._C._cuda_synchronize",
    _TRIED,
    "`torch.cuda.synchronize()` is seen only where CUPTI's callbacks see it.",
    Builds.FOR_CUDA,
)
SYNCHRONIZE_ACCELERATOR = PrivateName(
    "torch._C._accelerator_synchronizeDevice",
    _TRIED,
    "`torch.accelerator.synchronize()` is seen only where CUPTI's callbacks see it.",
)
PARSE_TO = PrivateName(
    "torch._C._nn._parse_to",
    _TRIED,
    "whether `Tensor.to` was asked not to block is told from its third argument alone.",
)
HAS_CONTEXT = PrivateName(
    "torch._C._cuda_hasPrimaryContext",
    _TRIED,
    "only the current GPU is waited for at the end of a watch, so work of others at that moment has no record.",
    Builds.FOR_CUDA,
)
PREPARE_PROFILER = PrivateName(
    "torch.autograd.profiler._prepare_profiler",
    _TRIED,
    "a torch.profiler that the program starts inside a watch sees no GPU.",
)
SLEEP = PrivateName(
    "torch.cuda._sleep",
    _TRIED,
    "CUPTI's records cannot be tried on a kernel, so there are no idle times, and `syncwatch probe` does not run.",
)
NAMES = (
    BUILT_FOR_CUDA,
    *(GET_DEBUG_MODE, SET_DEBUG_MODE, COUNT_DEVICES, COUNT_BY_NVML, CALL_AT_START, SYNCHRONIZE),
    *(SYNCHRONIZE_ACCELERATOR, PARSE_TO, HAS_CONTEXT, PREPARE_PROFILER, SLEEP),
)


def operator_samples() -> list[Any]:
    """Return torch's own samples of its operators.

    Raises:
        ImportError: if what they are made with is not installed.
    """
    from torch.testing._internal.common_methods_invocations import op_db

    return list(op_db)


def debug_mode() -> int:
    """Return the sync debug mode, as `torch.cuda.get_sync_debug_mode` does, without initialising CUDA."""
    return int(GET_DEBUG_MODE.get()())


def set_debug_mode(mode: int) -> None:
    """Set the sync debug mode, as `torch.cuda.set_sync_debug_mode` does, without initialising CUDA."""
    SET_DEBUG_MODE.get()(mode)


def count_devices() -> int:
    """Return how many GPUs there are; 0 for a torch without CUDA. The driver is not initialised where NVML answers."""
    import torch

    if not COUNT_DEVICES.is_there():
        return 0
    # NVML, as with PYTORCH_NVML_BASED_CUDA_CHECK=1: to ask the runtime would initialise the driver.
    count_by_nvml: Callable[[], int] = COUNT_BY_NVML.get_or(lambda: -1)
    known = count_by_nvml() if torch.version.cuda else -1
    return known if known >= 0 else int(COUNT_DEVICES.get()())


def call_when_initialized(call: Callable[[], None]) -> None:
    """Call `call` once torch has initialised CUDA in this process: now where it has, or cannot be asked."""
    import torch

    call_at_start = CALL_AT_START.get_or(None)
    if call_at_start is None:
        torch.cuda.init()
        call()
    else:
        call_at_start(call)


def asks_not_to_block(arguments: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Return whether `Tensor.to(*arguments, **named)` is asked for a copy that does not block."""
    try:
        return bool(PARSE_TO.get()(*arguments, **named)[2])
    except (TypeError, RuntimeError, NotMeasuredError):  # `to(other_tensor)` has no such form
        return any(argument is True for argument in arguments[1:2])


def devices_in_use() -> tuple[int, ...]:
    """Return the GPUs on which this process has a context; asking makes none."""
    import torch

    if not torch.cuda.is_initialized():
        return ()
    has_context: Callable[[int], bool] | None = HAS_CONTEXT.get_or(None)
    if has_context is None:
        return (torch.cuda.current_device(),)
    return tuple(device for device in range(torch.cuda.device_count()) if has_context(device))


def spin(cycles: int) -> None:
    """Keep the GPU's current stream busy for `cycles` of its clock."""
    SLEEP.get()(cycles)


_CHOICE = "which kernels attention may use is told as for a CPU."
_FUSED = "TorchScript may want a compiler for the GPU."
_HISTORY = "the memory's history is told as without a GPU."

INITIALIZED = PrivateName("torch.cuda._initialized", _TRIED, "checkpoints do not keep the GPU's random state.")
LAZY_INIT = PrivateName("torch.cuda._lazy_init", _TRIED, "a first use of CUDA looks for a driver.")
DEVICE_GUARD = PrivateName("torch.cuda._DeviceGuard", _TRIED, "code of torch's that chooses a GPU looks for a driver.")
MAY_FLASH = PrivateName("torch._C._can_use_flash_attention", _TRIED, _CHOICE)
MAY_SAVE_MEMORY = PrivateName("torch._C._can_use_mem_efficient_attention", _TRIED, _CHOICE)
MAY_CUDNN = PrivateName("torch._C._can_use_cudnn_attention", _TRIED, _CHOICE)
GPU_FUSER_IS_ON = PrivateName("torch._C._jit_can_fuse_on_gpu", _TRIED, _FUSED)
SET_GPU_FUSER = PrivateName("torch._C._jit_override_can_fuse_on_gpu", _TRIED, _FUSED)
TEXPR_FUSER_IS_ON = PrivateName("torch._C._jit_texpr_fuser_enabled", _TRIED, _FUSED)
SET_TEXPR_FUSER = PrivateName("torch._C._jit_set_texpr_fuser_enabled", _TRIED, _FUSED)
FLATTEN_WEIGHTS = PrivateName(
    "torch._use_cudnn_rnn_flatten_weight",
    _TRIED,
    "the weights of a recurrent layer are laid beside each other.",
)
RECORD_HISTORY = PrivateName("torch.cuda.memory._record_memory_history", _TRIED, _HISTORY)
SNAPSHOT = PrivateName("torch.cuda.memory._snapshot", _TRIED, _HISTORY)
DUMP_SNAPSHOT = PrivateName("torch.cuda.memory._dump_snapshot", _TRIED, _HISTORY)
EMPTY_PINNED_CACHE = PrivateName(
    "torch._C._host_emptyCache", _TRIED, "page-locked memory is kept.", Builds.SOME_VERSIONS
)
CLEAR_WORKSPACES = PrivateName(
    "torch._C._cuda_clearCublasWorkspaces", _TRIED, "workspaces of cuBLAS are kept.", Builds.FOR_CUDA
)
JITERATOR = PrivateName(
    "torch._C._cuda_jiterator_compile_and_launch_kernel", _TRIED, "jiterator looks for a GPU.", Builds.FOR_CUDA
)
TO_DLPACK = PrivateName("torch._C._to_dlpack", _TRIED, "memory of the device can be handed out as a GPU's.")
NO_DISPATCH = PrivateName("torch._C._DisableTorchDispatch", _TRIED, "tensor subclasses are asked by the device.")
VIRTUAL_NAMES = (
    *(INITIALIZED, LAZY_INIT, CALL_AT_START, DEVICE_GUARD, SLEEP, MAY_FLASH, MAY_SAVE_MEMORY, MAY_CUDNN),
    *(GPU_FUSER_IS_ON, SET_GPU_FUSER, TEXPR_FUSER_IS_ON, SET_TEXPR_FUSER, FLATTEN_WEIGHTS),
    *(RECORD_HISTORY, SNAPSHOT, DUMP_SNAPSHOT, EMPTY_PINNED_CACHE, CLEAR_WORKSPACES, JITERATOR, TO_DLPACK, NO_DISPATCH),
)


@contextlib.contextmanager
def no_subclass_is_asked() -> Iterator[None]:
    """Let no tensor subclass and no mode of the user's see the operators inside."""
    import torch

    with NO_DISPATCH.get()(), torch._C.DisableTorchFunction():
        yield


def stop_fusing() -> list[tuple[PrivateName, bool]]:
    """Let TorchScript run its operators one by one; return what `fuse_again` takes to undo it."""
    before = []
    for is_on, switch in ((GPU_FUSER_IS_ON, SET_GPU_FUSER), (TEXPR_FUSER_IS_ON, SET_TEXPR_FUSER)):
        before.append((switch, bool(is_on.get()())))
        switch.get()(False)
    return before


def fuse_again(before: list[tuple[PrivateName, bool]]) -> None:
    """Switch TorchScript's fusers as they were."""
    for switch, was_on in before:
        switch.get()(was_on)


_UNHEARD = "is not heard, so waits inside have no range of that kind."

TORCH_NVTX = PrivateName("torch.cuda.nvtx._nvtx", _TRIED, f"`torch.cuda.nvtx` {_UNHEARD}")
ENTER = PrivateName("torch.ops.profiler._record_function_enter", _TRIED, f"`record_function` {_UNHEARD}")
ENTER_NEW = PrivateName("torch.ops.profiler._record_function_enter_new", _TRIED, f"`record_function` {_UNHEARD}")
EXIT = PrivateName("torch.ops.profiler._record_function_exit", _TRIED, f"`record_function` {_UNHEARD}")
EXIT_LATER = PrivateName(
    "torch.ops.profiler._call_end_callbacks_on_jit_fut",
    _TRIED,
    "a `record_function` whose end waits for a future ends where its future does.",
)
NVTX_LIBRARY = PrivateName("nvtx._lib.lib", "0.2.8 to 0.2.14", f"the package nvtx {_UNHEARD}")
BACKWARD = PrivateName(
    "torch.autograd.graph._engine_run_backward",
    _TRIED,
    "waits of autograd's threads in a warm-up step count as outside every step.",
)
"""The function of torch that waits while autograd's threads work."""
RANGE_NAMES = (TORCH_NVTX, ENTER, ENTER_NEW, EXIT, EXIT_LATER, NVTX_LIBRARY, BACKWARD)


def overloads_of(name: PrivateName) -> Iterator[Any]:
    """Yield the operator `name` with its overloads, each of which can be called by itself; none where it is gone."""
    packet = name.get_or(None)
    if packet is not None:
        yield packet
        yield from (getattr(packet, overload) for overload in packet.overloads())
