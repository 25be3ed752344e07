"""What the sensors of a CUDA GPU ask of torch by undocumented names: its debug mode, its start, its profiler."""

from __future__ import annotations

from collections.abc import Callable
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
PROFILER_OPTIONS = PrivateName(
    "torch._C._profiler._ExperimentalConfig",
    _TRIED,
    "torch.profiler cannot be asked for synchronizations, so a run on a GPU has no times.",
)
PROFILER_IS_ON = PrivateName(
    "torch.autograd.profiler._is_profiler_enabled",
    _TRIED,
    "a torch.profiler of the program's own is noticed only when ours fails to start.",
)
SLEEP = PrivateName(
    "torch.cuda._sleep",
    _TRIED,
    "`syncwatch probe` cannot keep the GPU busy, and does not run.",
)
NAMES = (
    BUILT_FOR_CUDA,
    *(GET_DEBUG_MODE, SET_DEBUG_MODE, COUNT_DEVICES, COUNT_BY_NVML, CALL_AT_START, SYNCHRONIZE),
    *(SYNCHRONIZE_ACCELERATOR, PARSE_TO, PROFILER_OPTIONS, PROFILER_IS_ON, SLEEP),
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


def profiler_is_on() -> bool:
    """Return whether a torch.profiler records in this process, as far as torch tells."""
    return bool(PROFILER_IS_ON.get_or(False))


def profiler_options(*, all_threads: bool) -> Any:
    """Return the options by which torch.profiler records synchronizations, of all threads where that is wished."""
    named = {"profile_all_threads": True} if all_threads else {}
    return PROFILER_OPTIONS.get()(enable_cuda_sync_events=True, **named)


def records_all_threads() -> bool:
    """Return whether torch.profiler can record all threads; since torch 2.11."""
    try:
        profiler_options(all_threads=True)
    except TypeError:
        return False
    return True


def spin(cycles: int) -> None:
    """Keep the GPU's current stream busy for `cycles` of its clock."""
    SLEEP.get()(cycles)
