"""Replaces `torch.cuda` while the virtual device is on: every name that programs call, put back afterwards."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from syncwatch.compat import torch_cuda as names
from syncwatch.model.events import SyncKind
from syncwatch.sense.patching import Patches
from syncwatch.sense.virtual.clock.clock import DEFAULT_STREAM, StreamId
from syncwatch.sense.virtual.clock.memory import memory_functions
from syncwatch.sense.virtual.engine import Engine, SyncDebugLevel
from syncwatch.sense.virtual.operators import table
from syncwatch.sense.virtual.torch_api.cuda_streams import (
    ExternalVirtualStream,
    TensorPlace,
    VirtualEvent,
    VirtualStream,
    current,
    place_named,
    stream_context,
)
from syncwatch.sense.virtual.torch_api.early_imports import replace

DEVICE_NAME = "NVIDIA H200 (virtual)"
CAPABILITY = (9, 0)
_MULTIPROCESSORS = 132
_TYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
)

_PLAIN_DEFAULT_TYPE = torch.set_default_tensor_type


def patch(patches: Patches, engine: Engine) -> None:
    """Replace the names of `torch.cuda`, `torch.accelerator`, and the few of `torch` that belong to them."""
    VirtualStream.engine = VirtualEvent.engine = engine
    VirtualStream.stands_for, VirtualEvent.stands_for = torch.cuda.Stream, torch.cuda.Event
    for name, value in {**_device_functions(engine), **_stream_functions(engine), **_seed_functions(engine)}.items():
        replace(patches, torch.cuda, name, value)
    for name, value in memory_functions(engine.memory).items():
        replace(patches, torch.cuda, name, value)
        replace(patches, torch.cuda.memory, name, value)
    for name, value in _seed_functions(engine).items():
        replace(patches, torch.cuda.random, name, value)
    _patch_profilers(patches)
    # Checkpointing asks it before it keeps the state of the random numbers.
    patches.set_private_if_there(names.INITIALIZED, True)
    patches.set(torch, "set_default_tensor_type", _set_default_tensor_type)
    for name, value in _accelerator_functions(engine).items():
        replace(patches, torch.accelerator, name, value)
    patches.set(torch, "Stream", VirtualStream)
    patches.set(torch, "Event", VirtualEvent)


def _device_functions(engine: Engine) -> dict[str, Any]:
    def set_device(device: Any) -> None:
        if place_named(device) is not TensorPlace.DEVICE:
            raise ValueError(f"Expected a cuda device, but got: {device}")

    def synchronize(device: Any = None) -> None:
        engine.refuse_explicit(SyncKind.DEVICE)
        engine.wait(SyncKind.DEVICE, op=table.EXPLICIT_OP, explicit=True)

    return {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": set_device,
        "device": _DeviceContext,
        "device_of": _DeviceOf,
        names.DEVICE_GUARD.attribute: _DeviceContext,
        "get_device_name": lambda device=None: DEVICE_NAME,
        "get_device_capability": lambda device=None: CAPABILITY,
        "get_device_properties": lambda device=None: _properties(engine),
        "get_arch_list": lambda: ["sm_90"],
        "can_device_access_peer": lambda device, peer_device: False,
        "synchronize": synchronize,
        # A GPU of 1.98 GHz spins about two cycles a nanosecond.
        names.SLEEP.attribute: lambda cycles: engine.kernel("spin_kernel", int(cycles) // 2),
        "is_initialized": lambda: True,
        "init": lambda: None,
        names.LAZY_INIT.attribute: lambda: None,
        names.CALL_AT_START.attribute: lambda callback, **kwargs: None,
        "ipc_collect": lambda: None,
        "is_bf16_supported": lambda including_emulation=True: True,
        "is_tf32_supported": lambda: True,
        "utilization": lambda device=None: 0,
        "set_sync_debug_mode": lambda debug_mode: _set_debug_mode(engine, debug_mode),
        "get_sync_debug_mode": lambda: int(engine.debug_mode),
    }


def _stream_functions(engine: Engine) -> dict[str, Any]:
    def set_stream(stream: VirtualStream | None) -> None:
        if stream is not None:
            engine.clock.set_stream(StreamId(stream.stream_id))

    return {
        "Stream": VirtualStream,
        "Event": VirtualEvent,
        "ExternalStream": ExternalVirtualStream,
        "StreamContext": stream_context,
        "stream": stream_context,
        "current_stream": lambda device=None: current(engine),
        "default_stream": lambda device=None: VirtualStream(stream_id=DEFAULT_STREAM),
        "set_stream": set_stream,
    }


def _seed_functions(engine: Engine) -> dict[str, Callable[..., Any]]:
    generator = engine.generator

    def seed() -> None:
        generator.seed()

    def set_state(new_state: torch.Tensor, device: Any = None) -> None:
        generator.set_state(new_state)

    def set_states(new_states: list[torch.Tensor]) -> None:
        generator.set_state(new_states[0])

    return {
        "manual_seed": lambda seed: generator.manual_seed(int(seed)) and None,
        "manual_seed_all": lambda seed: generator.manual_seed(int(seed)) and None,
        "seed": seed,
        "seed_all": seed,
        "initial_seed": generator.initial_seed,
        "get_rng_state": lambda device=None: generator.get_state(),
        "get_rng_state_all": lambda: [generator.get_state()],
        "set_rng_state": set_state,
        "set_rng_state_all": set_states,
    }


def _accelerator_functions(engine: Engine) -> dict[str, Any]:
    cuda = _device_functions(engine)
    streams = _stream_functions(engine)
    memory = memory_functions(engine.memory)
    return {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_accelerator": lambda check_available=False: torch.device("cuda"),
        "current_device_index": lambda: 0,
        "current_device_idx": lambda: 0,
        "set_device_index": lambda device, /: None,
        "set_device_idx": lambda device, /: None,
        "device_index": _DeviceContext,
        "current_stream": streams["current_stream"],
        "set_stream": streams["set_stream"],
        "synchronize": cuda["synchronize"],
        **{
            name: memory[name]
            for name in (
                "empty_cache",
                "memory_allocated",
                "max_memory_allocated",
                "memory_reserved",
                "max_memory_reserved",
                "memory_stats",
                "reset_peak_memory_stats",
                "reset_accumulated_memory_stats",
            )
        },
        "get_memory_info": memory["mem_get_info"],
        "get_device_capability": lambda device=None, /: {"supported_dtypes": set(_TYPES)},
    }


class _DeviceContext:
    """`with torch.cuda.device(0):`; there is one device."""

    def __init__(self, device: Any = None) -> None:
        if device is not None and not (isinstance(device, int) and device < 0):
            place_named(device)
        self.idx = 0
        self.prev_idx = 0

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        return None


class _DeviceOf(_DeviceContext):
    """`with torch.cuda.device_of(x):`."""

    def __init__(self, obj: Any) -> None:
        _DeviceContext.__init__(self, 0)


def _properties(engine: Engine) -> SimpleNamespace:
    return SimpleNamespace(
        name=DEVICE_NAME,
        major=CAPABILITY[0],
        minor=CAPABILITY[1],
        total_memory=engine.memory.capacity,
        multi_processor_count=_MULTIPROCESSORS,
        max_threads_per_multi_processor=2048,
        max_threads_per_block=1024,
        regs_per_multiprocessor=65536,
        shared_memory_per_block=49152,
        shared_memory_per_block_optin=232448,
        shared_memory_per_multiprocessor=233472,
        warp_size=32,
        L2_cache_size=60 * 1024 * 1024,
        is_integrated=0,
        is_multi_gpu_board=0,
        gcnArchName="",
        uuid="GPU-00000000-0000-0000-0000-000000000000",
        pci_bus_id=0,
        pci_device_id=0,
        pci_domain_id=0,
    )


def _set_default_tensor_type(t: Any, /) -> None:
    """Set the default type, and the device with it: a torch for the CPU knows of CUDA's types by name only."""
    kind = f"{t.__module__}.{t.__qualname__}" if isinstance(t, type) else str(t)
    on_device = ".cuda." in f".{kind}"
    if not on_device:
        _PLAIN_DEFAULT_TYPE(t)
    else:
        torch.set_default_dtype(getattr(torch, kind.rpartition(".")[2]).dtype)
    if on_device or torch.get_default_device().type == "cuda":
        torch.set_default_device("cuda" if on_device else None)


def _set_debug_mode(engine: Engine, debug_mode: int | str) -> None:
    names = {"default": SyncDebugLevel.DEFAULT, "warn": SyncDebugLevel.WARN, "error": SyncDebugLevel.ERROR}
    if isinstance(debug_mode, str):
        if debug_mode not in names:
            raise RuntimeError("invalid value of debug_mode, expected one of `default`, `warn`, `error`")
        engine.debug_mode = names[debug_mode]
        return
    if debug_mode not in tuple(SyncDebugLevel):
        raise RuntimeError("invalid value of debug_mode, expected 0, 1 or 2")
    engine.debug_mode = SyncDebugLevel(debug_mode)


def _patch_profilers(patches: Patches) -> None:
    """Let programs start and stop the tools that would watch them: here nobody listens, and it succeeds."""
    for name in ("start", "stop"):
        replace(patches, torch.cuda.profiler, name, lambda: None)

    def enter(self: Any) -> Any:
        if not self.enabled:
            return None
        if self.entered:
            raise RuntimeError("NVTX annotation context manager is not reentrant")
        self.entered = True
        # As torch does, before it turns on what only a build for CUDA has.
        torch.cuda.synchronize()
        return self

    def leave(self: Any, *exception: object) -> bool | None:
        if not self.enabled:
            return None
        torch.cuda.synchronize()
        return False

    patches.set(torch.autograd.profiler.emit_nvtx, "__enter__", enter)
    patches.set(torch.autograd.profiler.emit_nvtx, "__exit__", leave)
