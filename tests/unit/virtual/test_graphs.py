"""CUDA graphs, compiled functions and kernels of the jiterator on the virtual device."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice

cuda: Any = torch.cuda


def test_a_graph_runs_again_on_new_input(device: VirtualDevice) -> None:
    x = torch.ones(3, device="cuda")
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        y = (x * 2 + 1).relu()

    x.fill_(5.0)
    graph.replay()

    assert y.tolist() == [11.0, 11.0, 11.0]


def test_a_replay_costs_the_host_one_launch(device: VirtualDevice, recorder: Recorder) -> None:
    x = torch.ones(3, device="cuda")
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        for _ in range(10):
            x.add_(1)
    torch.cuda.synchronize()
    kernels, before = len(recorder.kernels), device.now_ns()

    graph.replay()

    assert len(recorder.kernels) - kernels == 10
    assert device.now_ns() - before == device.engine.rates.kernel_launch_ns


def test_a_wait_during_a_capture_fails_and_the_device_goes_on(device: VirtualDevice) -> None:
    x = torch.ones(3, device="cuda")
    with (
        pytest.raises(torch.AcceleratorError, match="operation not permitted when stream is capturing"),
        cuda.graph(cuda.CUDAGraph()),
    ):
        assert torch.cuda.is_current_stream_capturing()
        x.sum().item()

    assert not torch.cuda.is_current_stream_capturing()
    assert x.sum().item() == 3.0


def test_compiled_functions_run_as_they_are_written(device: VirtualDevice) -> None:
    @torch.compile
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    assert double(torch.ones(2, device="cuda")).tolist() == [2.0, 2.0]
    assert any("torch.compile ran eagerly" in note for note in device.engine.notes)


def test_distributed_work_is_refused_with_a_next_step(device: VirtualDevice) -> None:
    with pytest.raises(NotMeasuredError, match="without a process group"):
        torch.distributed.init_process_group("nccl")


def test_element_wise_kernels_of_the_jiterator_are_computed(device: VirtualDevice) -> None:
    code = "template <typename T> T scaled(T x, T y, T alpha) { return -x + alpha * y; }"
    scaled: Any = torch.cuda.jiterator._create_jit_fn(code, alpha=1.0)
    x = torch.ones(3, device="cuda")

    assert scaled(x, x, alpha=3.0).tolist() == [2.0, 2.0, 2.0]


def test_a_function_of_the_jiterator_that_was_made_before_the_device_runs_on_it() -> None:
    code = "template <typename T> T scaled(T x, T y, T alpha) { return -x + alpha * y; }"
    scaled: Any = torch.cuda.jiterator._create_jit_fn(code, alpha=1.0)
    before = scaled.is_cuda_available

    device = VirtualDevice()
    device.start()
    x = torch.ones(3, device="cuda")
    assert scaled(x, x, alpha=3.0).tolist() == [2.0, 2.0, 2.0]
    device.stop()

    assert scaled.is_cuda_available is before


def test_what_is_more_than_arithmetic_is_refused(device: VirtualDevice) -> None:
    sine: Any = torch.cuda.jiterator._create_jit_fn("template <typename T> T sine(T x) { return ::sin(x); }")

    with pytest.raises(NotMeasuredError, match="more than arithmetic"):
        sine(torch.ones(3, device="cuda"))


def test_a_capture_runs_nothing(device: VirtualDevice) -> None:
    x, y = torch.ones(3, device="cuda"), torch.zeros(3, device="cuda")
    graph = cuda.CUDAGraph()

    with cuda.graph(graph):
        y.add_(x)
        x.mul_(2)

    assert (x.tolist(), y.tolist()) == ([1.0] * 3, [0.0] * 3)
    graph.replay()
    graph.replay()
    assert (x.tolist(), y.tolist()) == ([4.0] * 3, [3.0] * 3)
