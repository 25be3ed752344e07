"""What `torch.cuda` offers works on the virtual device: streams, events, memory, random numbers, autocast, NVTX."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from syncwatch.model.events import SyncKind
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice
from tests.helpers.waits import waits_of

cuda: Any = torch.cuda


def test_the_device_describes_itself(device: VirtualDevice) -> None:
    assert torch.cuda.is_available()
    assert (torch.cuda.device_count(), torch.cuda.current_device()) == (1, 0)
    assert torch.cuda.get_device_name() == "NVIDIA H200 (virtual)"
    assert torch.cuda.get_device_capability() == (9, 0)
    assert torch.cuda.get_device_properties(0).multi_processor_count == 132
    assert torch.cuda.is_bf16_supported()
    accelerator = torch.accelerator.current_accelerator()
    assert accelerator is not None
    assert accelerator.type == "cuda"
    with torch.cuda.device(0):
        torch.cuda.set_device("cuda:0")


@pytest.mark.parametrize(
    ("wait", "kind"),
    [
        (lambda: torch.cuda.synchronize(), SyncKind.DEVICE),
        (lambda: torch.accelerator.synchronize(), SyncKind.DEVICE),
        (lambda: torch.cuda.current_stream().synchronize(), SyncKind.STREAM),
        (lambda: torch.cuda.current_stream().record_event().synchronize(), SyncKind.EVENT),
    ],
)
def test_explicit_waits_are_marked(device: VirtualDevice, recorder: Recorder, wait: object, kind: SyncKind) -> None:
    assert callable(wait)
    wait()

    (sync,) = waits_of(recorder)
    assert (sync.kind, sync.explicit, sync.seen_by) == (kind, True, ("virtual",))


def test_work_on_a_stream_is_recorded_there(device: VirtualDevice, recorder: Recorder) -> None:
    side = cuda.Stream()
    x = torch.ones(3, device="cuda")

    with torch.cuda.stream(side):
        x.add_(1)
        assert torch.cuda.current_stream() == side

    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert recorder.kernels[-1].stream == side.stream_id != 0


def test_events_tell_the_time_between_them(device: VirtualDevice) -> None:
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    x = torch.ones(1 << 22, device="cuda")
    torch.cuda.synchronize()

    start.record()
    x.add_(1)
    end.record()

    assert not end.query()
    end.synchronize()
    assert end.query()
    assert start.elapsed_time(end) > 0.004


def test_untimed_events_have_no_time(device: VirtualDevice) -> None:
    event = cuda.Event()
    event.record()
    with pytest.raises(ValueError, match="enable_timing"):
        event.elapsed_time(event)


def test_memory_is_counted_and_limited() -> None:
    # One segment of the small pool fits, and no second one.
    device = VirtualDevice(capacity=3 << 20)
    device.start()
    try:
        x = torch.empty(1 << 18, dtype=torch.uint8, device="cuda")
        assert torch.cuda.memory_allocated() == 1 << 18
        assert torch.cuda.mem_get_info() == (1 << 20, 3 << 20)
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(2 << 20, dtype=torch.uint8, device="cuda")
        del x
        assert torch.cuda.memory_allocated() == 0
        assert torch.cuda.max_memory_allocated() == 1 << 18
        torch.cuda.empty_cache()
        assert torch.cuda.memory_reserved() == 0
    finally:
        device.stop()


def test_the_debug_mode_warns_and_raises(device: VirtualDevice) -> None:
    x = torch.ones(3, device="cuda")
    torch.cuda.set_sync_debug_mode("warn")
    with pytest.warns(UserWarning, match="called a synchronizing CUDA operation") as caught:
        x.tolist()
    assert caught[0].filename == __file__

    torch.cuda.set_sync_debug_mode("error")
    with pytest.raises(RuntimeError, match="called a synchronizing CUDA operation"):
        x[0].item()
    torch.cuda.synchronize()
    assert torch.cuda.get_sync_debug_mode() == 2

    torch.cuda.set_sync_debug_mode(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x.tolist()


def test_seeds_repeat_the_device_numbers(device: VirtualDevice) -> None:
    torch.cuda.manual_seed(3)
    first = torch.rand(4, device="cuda")
    torch.manual_seed(3)
    second = torch.rand(4, device="cuda")
    generator = torch.Generator(device="cuda").manual_seed(3)

    assert generator.device.type == "cuda"
    assert isinstance(generator, torch.Generator)
    third = torch.rand(4, device="cuda", generator=generator)
    assert first.tolist() == second.tolist() == third.tolist()


def test_the_state_of_the_generator_comes_back(device: VirtualDevice) -> None:
    state = torch.cuda.get_rng_state()
    first = torch.randn(4, device="cuda").tolist()

    torch.cuda.set_rng_state(state)

    assert torch.randn(4, device="cuda").tolist() == first


def test_autocast_computes_in_half_precision(device: VirtualDevice) -> None:
    x = torch.ones(4, 4, device="cuda")

    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert (x @ x).dtype is torch.bfloat16
    assert (x @ x).dtype is torch.float32


def test_ranges_of_nvtx_nest_and_wait_for_nothing(device: VirtualDevice, recorder: Recorder) -> None:
    opened = [cuda.nvtx.range_push("step"), cuda.nvtx.range_push("layer")]
    cuda.nvtx.mark("here")
    closed = [cuda.nvtx.range_pop(), cuda.nvtx.range_pop()]

    assert (opened, closed) == ([0, 1], [1, 0])
    assert not recorder.syncs
