"""Names imported from torch before the device is on: calls of them reach the device, and none is changed afterwards."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.cuda import nvtx

from syncwatch.model.events import SyncKind
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice
from tests.helpers.waits import waits_of

MODULES: tuple[Any, ...] = (
    torch.cuda,
    torch.cuda.amp,
    torch.cuda.graphs,
    torch.cuda.memory,
    torch.cuda.nvtx,
    torch.cuda.random,
    torch.cuda.streams,
    torch.accelerator,
)
EARLY: dict[str, dict[str, Any]] = {module.__name__: dict(vars(module)) for module in MODULES}
CUDA = types.SimpleNamespace(**EARLY["torch.cuda"])
ACCELERATOR = types.SimpleNamespace(**EARLY["torch.accelerator"])


class Own(CUDA.Event):  # type: ignore[misc, name-defined]
    """A class of a user's, made before the device is on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.note = "mine"

    def recorded(self) -> Own:
        self.record()
        return self


KINDS = ("Float", "Double", "Half", "BFloat16", "Byte", "Char", "Short", "Int", "Long", "Bool")
WRITTEN_IN_C = {"MemPool", *(f"{kind}Tensor" for kind in KINDS)}
"""Names that cannot be redirected once imported: they are written in C, with no Python code to change."""


def on_device(value: Any) -> bool:
    return type(value).__module__.startswith("syncwatch.sense.virtual")


def entered(manager: contextlib.AbstractContextManager[Any]) -> bool:
    with manager:
        return bool(torch.ones(2, device="cuda").is_cuda)


def timed() -> bool:
    start, end = CUDA.Event(enable_timing=True), CUDA.Event(enable_timing=True)
    start.record()
    torch.ones(2, device="cuda").add_(1)
    end.record()
    end.synchronize()
    return bool(start.elapsed_time(end) > 0)


def captured() -> bool:
    x = torch.ones(2, device="cuda")
    graph = CUDA.CUDAGraph()
    with CUDA.graph(graph):
        x.add_(1)
    graph.replay()
    return bool(x.tolist() == [2.0, 2.0])


REACHED: dict[str, Callable[[], bool]] = {
    "CUDAGraph": captured,
    "Event": timed,
    "ExternalStream": lambda: on_device(CUDA.ExternalStream(7)),
    "Stream": lambda: on_device(CUDA.Stream()) and CUDA.Stream(priority=-1).priority == -1,
    "StreamContext": lambda: entered(CUDA.StreamContext(CUDA.Stream())),
    "can_device_access_peer": lambda: CUDA.can_device_access_peer(0, 0) is False,
    "current_device": lambda: CUDA.current_device() == 0,
    "current_stream": lambda: CUDA.current_stream() == torch.cuda.current_stream(),
    "default_stream": lambda: CUDA.default_stream().stream_id == 0,
    "device": lambda: entered(CUDA.device(0)) and entered(CUDA.device("cuda")),
    "device_count": lambda: CUDA.device_count() == 1,
    "device_of": lambda: entered(CUDA.device_of(torch.ones(1, device="cuda"))),
    "empty_cache": lambda: CUDA.empty_cache() is None,
    "get_arch_list": lambda: CUDA.get_arch_list() == ["sm_90"],
    "get_device_capability": lambda: CUDA.get_device_capability() == (9, 0),
    "get_device_name": lambda: "H200" in CUDA.get_device_name(0),
    "get_device_properties": lambda: CUDA.get_device_properties(0).major == 9,
    "get_per_process_memory_fraction": lambda: CUDA.get_per_process_memory_fraction() == 1.0,
    "get_rng_state": lambda: CUDA.get_rng_state("cuda").numel() > 0,
    "get_rng_state_all": lambda: len(CUDA.get_rng_state_all()) == 1,
    "get_sync_debug_mode": lambda: CUDA.get_sync_debug_mode() == 0,
    "graph": captured,
    "graph_pool_handle": lambda: len(CUDA.graph_pool_handle()) == 2,
    "init": lambda: CUDA.init() is None,
    "initial_seed": lambda: isinstance(CUDA.initial_seed(), int),
    "ipc_collect": lambda: CUDA.ipc_collect() is None,
    "is_available": lambda: CUDA.is_available() is True,
    "is_bf16_supported": lambda: CUDA.is_bf16_supported() is True,
    "is_current_stream_capturing": lambda: CUDA.is_current_stream_capturing() is False,
    "is_initialized": lambda: CUDA.is_initialized() is True,
    "is_tf32_supported": lambda: CUDA.is_tf32_supported() is True,
    "list_gpu_processes": lambda: isinstance(CUDA.list_gpu_processes(), str),
    "manual_seed": lambda: CUDA.manual_seed(3) is None and torch.cuda.initial_seed() == 3,
    "manual_seed_all": lambda: CUDA.manual_seed_all(4) is None and torch.cuda.initial_seed() == 4,
    "max_memory_allocated": lambda: CUDA.max_memory_allocated() >= 0,
    "max_memory_reserved": lambda: CUDA.max_memory_reserved() >= 0,
    "mem_get_info": lambda: CUDA.mem_get_info()[1] > 1 << 30,
    "memory_allocated": lambda: torch.ones(2048, device="cuda").is_cuda and CUDA.memory_allocated() >= 0,
    "max_memory_cached": lambda: CUDA.max_memory_cached() >= 0,
    "memory_cached": lambda: CUDA.memory_cached() >= 0,
    "memory_reserved": lambda: CUDA.memory_reserved() >= 0,
    "memory_snapshot": lambda: CUDA.memory_snapshot() is not None,
    "memory_stats": lambda: "allocated_bytes.all.current" in CUDA.memory_stats(),
    "memory_stats_as_nested_dict": lambda: isinstance(CUDA.memory_stats_as_nested_dict(), dict),
    "memory_summary": lambda: isinstance(CUDA.memory_summary(), str),
    "reset_accumulated_memory_stats": lambda: CUDA.reset_accumulated_memory_stats() is None,
    "reset_max_memory_cached": lambda: CUDA.reset_max_memory_cached() is None,
    "reset_max_memory_allocated": lambda: CUDA.reset_max_memory_allocated() is None,
    "host_memory_stats": lambda: CUDA.host_memory_stats()["allocations.current"] >= 0,
    "host_memory_stats_as_nested_dict": lambda: "allocations" in CUDA.host_memory_stats_as_nested_dict(),
    "reset_peak_host_memory_stats": lambda: CUDA.reset_peak_host_memory_stats() is None,
    "reset_accumulated_host_memory_stats": lambda: CUDA.reset_accumulated_host_memory_stats() is None,
    "reset_peak_memory_stats": lambda: CUDA.reset_peak_memory_stats() is None,
    "seed": lambda: CUDA.seed() is None,
    "seed_all": lambda: CUDA.seed_all() is None,
    "set_device": lambda: CUDA.set_device("cuda:0") is None,
    "set_per_process_memory_fraction": lambda: CUDA.set_per_process_memory_fraction(0.5) is None,
    "set_rng_state": lambda: CUDA.set_rng_state(CUDA.get_rng_state("cuda")) is None,
    "set_rng_state_all": lambda: CUDA.set_rng_state_all(CUDA.get_rng_state_all()) is None,
    "set_stream": lambda: CUDA.set_stream(CUDA.default_stream()) is None,
    "set_sync_debug_mode": lambda: CUDA.set_sync_debug_mode("default") is None,
    "stream": lambda: entered(CUDA.stream(CUDA.Stream())),
    "synchronize": lambda: CUDA.synchronize() is None,
    "utilization": lambda: CUDA.utilization() == 0,
    "caching_allocator_alloc": lambda: CUDA.caching_allocator_delete(CUDA.caching_allocator_alloc(64)) is None,
    "caching_allocator_delete": lambda: CUDA.caching_allocator_delete(0) is None,
    "check_error": lambda: CUDA.check_error(0) is None,
    "cudart": lambda: CUDA.cudart() is torch.cuda.cudart(),
    "current_blas_handle": lambda: CUDA.current_blas_handle() == 1,
    "get_allocator_backend": lambda: CUDA.get_allocator_backend() == "native",
    "use_mem_pool": lambda: entered(CUDA.use_mem_pool(None)),
    "nvtx.mark": lambda: EARLY["torch.cuda.nvtx"]["mark"]("a") == 0,
    "nvtx.range": lambda: entered(EARLY["torch.cuda.nvtx"]["range"]("a")),
    "nvtx.range_end": lambda: EARLY["torch.cuda.nvtx"]["range_end"](0) is None,
    "nvtx.range_pop": lambda: EARLY["torch.cuda.nvtx"]["range_pop"]() is not None,
    "nvtx.range_push": lambda: EARLY["torch.cuda.nvtx"]["range_push"]("a") == 0,
    "nvtx.range_start": lambda: EARLY["torch.cuda.nvtx"]["range_start"]("a") > 0,
    "amp.GradScaler": lambda: bool(EARLY["torch.cuda.amp"]["GradScaler"]().is_enabled()),
    "streams.Event": lambda: on_device(EARLY["torch.cuda.streams"]["Event"]()),
    "streams.Stream": lambda: on_device(EARLY["torch.cuda.streams"]["Stream"]()),
    "random.get_rng_state": lambda: EARLY["torch.cuda.random"]["get_rng_state"]("cuda").numel() > 0,
    "memory.memory_stats": lambda: isinstance(EARLY["torch.cuda.memory"]["memory_stats"](), dict),
    "accelerator.current_accelerator": lambda: ACCELERATOR.current_accelerator().type == "cuda",
    "accelerator.current_device_idx": lambda: ACCELERATOR.current_device_idx() == 0,
    "accelerator.current_device_index": lambda: ACCELERATOR.current_device_index() == 0,
    "accelerator.current_stream": lambda: on_device(ACCELERATOR.current_stream()),
    "accelerator.device_count": lambda: ACCELERATOR.device_count() == 1,
    "accelerator.device_index": lambda: entered(ACCELERATOR.device_index(0)),
    "accelerator.is_available": lambda: ACCELERATOR.is_available() is True,
    "accelerator.set_device_idx": lambda: ACCELERATOR.set_device_idx(0) is None,
    "accelerator.set_device_index": lambda: ACCELERATOR.set_device_index(0) is None,
    "accelerator.set_stream": lambda: ACCELERATOR.set_stream(ACCELERATOR.current_stream()) is None,
    "accelerator.synchronize": lambda: ACCELERATOR.synchronize() is None,
}


def early(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    whole = f"torch.{module}" if module == "accelerator" else f"torch.cuda.{module}".rstrip(".")
    return EARLY[whole].get(attribute)


@pytest.mark.parametrize("name", REACHED)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_name_that_was_imported_before_reaches_the_device(device: VirtualDevice, name: str) -> None:
    if early(name) is None:
        pytest.skip("this torch has no such name")
    assert REACHED[name]()


def test_every_public_name_that_the_device_replaces_is_in_the_table() -> None:
    device = VirtualDevice()
    device.start()
    try:
        replaced = {
            name for name, value in EARLY["torch.cuda"].items() if value is not vars(torch.cuda).get(name, value)
        }
    finally:
        device.stop()
    assert {name for name in replaced if not name.startswith("_")} <= set(REACHED) | WRITTEN_IN_C


def test_the_waits_of_early_names_have_their_lines(device: VirtualDevice, recorder: Recorder) -> None:
    CUDA.synchronize()
    CUDA.current_stream().synchronize()
    event = CUDA.Event()
    event.record()
    event.synchronize()
    CUDA.Event.synchronize(event)
    assert [sync.kind for sync in waits_of(recorder)] == [
        SyncKind.DEVICE,
        SyncKind.STREAM,
        SyncKind.EVENT,
        SyncKind.EVENT,
    ]
    frames, stacks = recorder._stacks.freeze()
    lines = [
        next(frames[index].code for index in stacks[sync.stack or 0] if frames[index].file.endswith("imports.py"))
        for sync in waits_of(recorder)
    ]
    assert lines == [
        "CUDA.synchronize()",
        "CUDA.current_stream().synchronize()",
        "event.synchronize()",
        "CUDA.Event.synchronize(event)",
    ]


def test_what_it_makes_is_an_instance_of_the_early_class(device: VirtualDevice) -> None:
    for name in ("Event", "Stream", "CUDAGraph"):
        made = getattr(torch.cuda, name)()
        assert isinstance(made, early(name)) and isinstance(made, getattr(torch.cuda, name))


def test_a_class_of_the_users_on_top_of_an_early_one(device: VirtualDevice) -> None:
    event = Own(enable_timing=True).recorded()
    assert (event.note, isinstance(event, Own), isinstance(event, torch.cuda.Event)) == ("mine", True, True)
    event.synchronize()
    assert event.query()


def test_everything_is_itself_again_when_the_device_is_off() -> None:
    functions = {
        value: value.__code__
        for names in EARLY.values()
        for value in names.values()
        if isinstance(value, types.FunctionType)
    }
    classes = {
        value: dict(vars(value)) for names in EARLY.values() for value in names.values() if isinstance(value, type)
    }
    codes = {
        method: method.__code__
        for members in classes.values()
        for method in members.values()
        if isinstance(method, types.FunctionType)
    }
    for _ in range(2):
        device = VirtualDevice()
        device.start()
        marked = nvtx.mark("a")
        device.stop()
        assert marked == 0
    assert all(function.__code__ is code for function, code in {**functions, **codes}.items())
    for each, members in classes.items():
        assert dict(vars(each)) == members, each
    assert CUDA.is_available() is torch.cuda.is_available()
    if not torch.cuda.is_available():
        with pytest.raises((RuntimeError, AssertionError)):
            CUDA.synchronize()
        with pytest.raises((RuntimeError, AssertionError)):
            CUDA.Stream()
        assert isinstance(CUDA.device(-1), CUDA.device)
