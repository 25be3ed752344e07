"""What programs ask of CUDA's libraries works without a driver, whether torch was built for CUDA or for the CPU."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd.profiler import emit_nvtx

from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice
from tests.helpers.waits import waits_of

pytestmark = pytest.mark.usefixtures("module_device")


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "dropout": 0.1}, {"batch_first": True, "bias": False}])
def test_recurrent_layers_run_forwards_and_backwards(device: VirtualDevice, kind: Any, options: dict[str, Any]) -> None:
    layer = kind(8, 16, 2, **options).cuda()
    inputs = torch.randn(5, 3, 8, device="cuda", requires_grad=True)
    device.record_into(recorder := Recorder(now_ns=device.now_ns))

    layer.flatten_parameters()
    outputs, _ = layer(inputs)
    outputs.sum().backward()

    device.record_into(None)
    assert not waits_of(recorder)
    assert outputs.is_cuda and inputs.grad is not None and inputs.grad.is_cuda


def test_a_recurrent_layer_is_copied_saved_and_loaded() -> None:
    layer = nn.LSTM(8, 16, proj_size=4).cuda().half()
    inputs = torch.randn(5, 3, 8, device="cuda").half()
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    other = copy.deepcopy(layer)
    file.seek(0)
    other.load_state_dict(torch.load(file))

    assert torch.equal(layer(inputs)[0], other(inputs)[0])


def test_sequences_of_different_lengths_go_through_a_recurrent_layer() -> None:
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(5, 3, 8, device="cuda"), [5, 4, 2])

    outputs, _ = nn.utils.rnn.pad_packed_sequence(nn.GRU(8, 16).cuda()(packed)[0])

    assert outputs.shape == (5, 3, 16) and outputs.is_cuda


def test_cudnn_is_there_as_on_a_gpu() -> None:
    assert torch.backends.cudnn.is_available()
    assert (torch.backends.cudnn.version() or 0) >= 90000
    assert torch.version.cuda is not None


# As programs find them: torch's own stubs lack some, and want a driver's types for others.
cuda: Any = torch.cuda
ANSWERS: dict[str, Callable[[], object]] = {
    "profiler": lambda: (cuda.profiler.start(), cuda.profiler.stop()) == (None, None),
    "runtime": lambda: cuda.cudart().cudaProfilerStart() == 0,
    "checked call": lambda: cuda.check_error(cuda.cudart().cudaProfilerStop()) is None,
    "blas handle": lambda: cuda.current_blas_handle() != 0,
    "plan cache": lambda: (
        (torch.backends.cuda.cufft_plan_cache.clear(), torch.backends.cuda.cufft_plan_cache[0].size) == (None, 0)
    ),
    "memory history": lambda: cuda.memory._record_memory_history() is None and "segments" in cuda.memory._snapshot(),
    "allocator": lambda: cuda.caching_allocator_delete(cuda.caching_allocator_alloc(64, 0, 0)) is None,
    "solver": lambda: torch.linalg.svd(torch.eye(4, device="cuda"), driver="gesvd").S.tolist() == [1.0] * 4,
    "priorities": lambda: cuda.Stream.priority_range() == (0, -3),
    "emitted ranges": lambda: isinstance(emit_nvtx().__enter__(), emit_nvtx),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_needs_a_driver_answers_without_one(name: str) -> None:
    assert ANSWERS[name]()


def test_memory_of_the_allocator_is_counted_until_it_is_given_back() -> None:
    before = torch.cuda.memory_allocated()
    address = torch.cuda.caching_allocator_alloc(4096, 0, 0)
    during = torch.cuda.memory_allocated()
    torch.cuda.caching_allocator_delete(address)

    assert (during - before, torch.cuda.memory_allocated() - before) == (4096, 0)


@pytest.mark.parametrize("divide", [torch.remainder, torch.fmod, torch.floor_divide])
def test_whole_numbers_are_divided_by_zero_without_an_error(divide: Callable[..., Any]) -> None:
    numbers = torch.tensor([7, 8, 9], device="cuda")

    by_tensor = divide(numbers, torch.tensor([2, 0, 4], device="cuda"))

    assert by_tensor[0].item() == divide(torch.tensor(7), 2).item()
    assert divide(numbers, 0).is_cuda


def test_a_device_by_number_is_the_gpu() -> None:
    assert torch.device(0) == torch.device("cuda", 0)
    assert torch.ones(2, device=torch.device(0)).is_cuda


def test_one_device_is_enough_for_data_parallel() -> None:
    layer = nn.Linear(4, 2).cuda()

    out = nn.DataParallel(layer)(torch.ones(3, 4))

    assert out.is_cuda
    assert torch.equal(out, layer(torch.ones(3, 4, device="cuda")))


def test_the_old_tensor_types_make_and_know_tensors_of_the_device() -> None:
    kind: Any = cuda.FloatTensor

    made = kind([1.0, 2.0])

    assert made.is_cuda and made.type() == "torch.cuda.FloatTensor"
    assert isinstance(made, kind)
    assert not isinstance(made.cpu(), kind)
    assert not isinstance(made.half(), kind)


def test_higher_order_operators_run_what_they_are_made_of(device: VirtualDevice) -> None:
    from torch.nn.attention.flex_attention import flex_attention

    q, k, v = (torch.randn(1, 2, 16, 16, device="cuda") for _ in range(3))
    wanted = nn.functional.scaled_dot_product_attention(q, k, v)

    out: Any = flex_attention(q, k, v)

    assert out.is_cuda
    torch.testing.assert_close(out.cpu(), wanted.cpu())
