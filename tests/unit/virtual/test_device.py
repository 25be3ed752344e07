"""The virtual device goes on and off without a trace in torch; its tensors compute as the CPU's and are recorded."""

from __future__ import annotations

import copy
import gc
import io
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from syncwatch.model.events import Direction, SyncKind
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice
from tests.helpers.waits import waits_of

# Everything that is patched while the device is on.
WATCHED: tuple[Any, ...] = (
    torch,
    torch.Tensor,
    torch.UntypedStorage,
    torch._C,
    torch.accelerator,
    torch.cuda,
    torch.cuda.memory,
    torch.cuda.nvtx,
    torch.cuda.random,
    torch.nn.functional,
    torch.functional,
    torch._tensor,
    torch.autograd,
    threading.Thread,
)


def names() -> dict[tuple[int, str], int]:
    return {(number, name): id(value) for number, owner in enumerate(WATCHED) for name, value in vars(owner).items()}


def test_nothing_stays_patched() -> None:
    before = names()
    device = VirtualDevice()

    device.start()
    assert names() != before
    device.stop()

    assert names() == before
    assert not torch.cuda.is_available()


def test_nothing_stays_patched_after_an_exception() -> None:
    before = names()
    device = VirtualDevice()

    device.start()
    try:
        with pytest.raises(RuntimeError, match="same device"):
            torch.ones(3, device="cuda") + torch.ones(3)
    finally:
        device.stop()

    assert names() == before


def test_a_start_that_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before = names()

    def broken(*arguments: object) -> None:
        raise OSError("no")

    monkeypatch.setattr("syncwatch.sense.virtual.torch_api.thread_times.patch", broken)
    device = VirtualDevice()
    with pytest.raises(OSError, match="no"):
        device.start()
    device.stop()
    monkeypatch.undo()

    assert names() == before


def test_stopping_twice_or_without_a_start_does_nothing() -> None:
    before = names()
    device = VirtualDevice()
    device.stop()
    assert names() == before

    device.start()
    device.stop()
    device.stop()
    assert names() == before


def test_tensors_say_that_they_are_on_the_device(device: VirtualDevice) -> None:
    x = torch.ones(3, device="cuda")

    assert x.device == torch.device("cuda", 0)
    assert (x.is_cuda, x.is_cpu, x.get_device(), x.type()) == (True, False, 0, "torch.cuda.FloatTensor")
    assert str(x) == "tensor([1., 1., 1.], device='cuda:0')"


@pytest.mark.parametrize("where", ["cuda", "cuda:0", 0, torch.device("cuda"), torch.device("cuda", 0)])
def test_every_name_of_the_device_is_understood(device: VirtualDevice, where: Any) -> None:
    assert torch.zeros(2, device=where).is_cuda
    assert torch.zeros(2).to(where).is_cuda


def test_a_second_gpu_is_refused(device: VirtualDevice) -> None:
    with pytest.raises(torch.AcceleratorError, match="invalid device ordinal"):
        torch.zeros(2, device="cuda:1")


def test_the_default_device_is_honoured_and_taken_back(device: VirtualDevice) -> None:
    torch.set_default_device("cuda")
    assert torch.zeros(2).is_cuda
    assert torch.tensor([1]).is_cuda
    assert torch.get_default_device().type == "cuda"
    torch.set_default_device("cpu")
    assert not torch.zeros(2).is_cuda
    torch.set_default_device(None)

    with torch.device("cuda"):
        assert torch.zeros(2).is_cuda
    assert not torch.zeros(2).is_cuda


def test_an_explicit_host_wins_over_inputs_on_the_device(device: VirtualDevice) -> None:
    x = torch.ones(3, device="cuda")

    assert not torch.zeros_like(x, device="cpu").is_cuda
    assert not x.new_zeros(3, device="cpu").is_cuda
    assert x.new_zeros(3).is_cuda
    assert torch.zeros_like(x).is_cuda


def test_gradients_flow_across_the_border(device: VirtualDevice) -> None:
    host = torch.ones(3, requires_grad=True)

    loss: Any = (host.to("cuda") * 2).sum()
    loss.backward()

    assert host.grad is not None
    assert not host.grad.is_cuda
    assert host.grad.tolist() == [2.0, 2.0, 2.0]


def test_a_module_moves_with_its_parameters_and_gradients(device: VirtualDevice) -> None:
    layer = torch.nn.Linear(4, 4).to("cuda")
    weight = layer.weight

    layer(torch.ones(2, 4, device="cuda")).sum().backward()

    assert weight.is_cuda
    assert weight.grad is not None
    assert weight.grad.is_cuda


def test_values_are_those_of_the_host(device: VirtualDevice) -> None:
    left, right = torch.randn(8, 8), torch.randn(8, 8)

    assert torch.equal((left.cuda() @ right.cuda()).cpu(), left @ right)


def test_a_tensor_on_the_device_is_no_array(device: VirtualDevice) -> None:
    x = torch.ones(3, device="cuda")

    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        x.numpy()
    with pytest.raises(BufferError, match=r"Call \.cpu\(\) first"):
        x.__dlpack__()
    assert x.cpu().numpy().tolist() == [1.0, 1.0, 1.0]


def test_scalars_on_the_host_mix_freely(device: VirtualDevice) -> None:
    assert (torch.ones(3, device="cuda") * torch.tensor(2.0)).is_cuda


def test_copies_of_tensors_stay_where_they_were(device: VirtualDevice) -> None:
    x = torch.ones(3, device="cuda")
    file = io.BytesIO()

    torch.save(x, file)
    file.seek(0)

    assert torch.load(file).is_cuda
    file.seek(0)
    assert not torch.load(file, map_location="cpu").is_cuda
    assert copy.deepcopy(x).is_cuda


def test_the_users_threads_are_watched(device: VirtualDevice, recorder: Recorder) -> None:
    x = torch.ones(3, device="cuda")

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: x.sum().item()).result() == 3.0

    (sync,) = waits_of(recorder)
    assert sync.thread != recorder.thread()


def test_a_wait_ends_when_the_queue_is_empty(device: VirtualDevice, recorder: Recorder) -> None:
    big = torch.empty(1 << 26, dtype=torch.uint8, device="cuda")
    big.add_(1)

    big[0].item()

    (sync,) = waits_of(recorder)
    assert sync.end_ns is not None
    assert recorder.kernels[-1].end_ns <= sync.end_ns <= device.now_ns()


def test_devices_nest_and_both_record(device: VirtualDevice, recorder: Recorder) -> None:
    x = torch.ones(3, device="cuda")
    inner = VirtualDevice()
    inside = Recorder(now_ns=device.now_ns)

    inner.start(inside)
    x.tolist()
    inner.stop()
    x.tolist()

    assert x.is_cuda
    assert (len(waits_of(inside)), len(waits_of(recorder))) == (1, 2)


def test_tensors_of_an_earlier_device_work_again_when_it_is_on() -> None:
    device = VirtualDevice()
    device.start()
    x = torch.ones(3, device="cuda")
    device.stop()
    assert x.device == torch.device("cuda", 0)

    device.start()
    try:
        assert x.is_cuda
        assert (x + torch.ones(3, device="cuda")).tolist() == [2.0, 2.0, 2.0]
    finally:
        device.stop()


def test_recorders_are_swapped_while_the_device_stays_on(device: VirtualDevice, recorder: Recorder) -> None:
    x = torch.ones(3, device="cuda")
    x.tolist()
    second = Recorder(now_ns=device.now_ns)

    device.record_into(second)
    x.tolist()
    device.record_into(None)
    x.tolist()

    assert (len(waits_of(recorder)), len(waits_of(second))) == (1, 1)


def test_pacing_is_marked(device: VirtualDevice, recorder: Recorder) -> None:
    recorder.pacing = True
    torch.cuda.synchronize()

    (sync,) = waits_of(recorder)
    assert (sync.kind, sync.explicit, sync.pacing) == (SyncKind.DEVICE, True, True)


def test_the_stack_leads_to_the_line_that_waits(device: VirtualDevice, recorder: Recorder) -> None:
    x = torch.ones(3, device="cuda")
    x.tolist()
    line = sys._getframe().f_lineno - 1

    frames, stacks = recorder._stacks.freeze()
    (sync,) = waits_of(recorder)
    assert sync.stack is not None
    found = [frames[index] for index in stacks[sync.stack] if frames[index].file.endswith("test_device.py")]
    assert found[0].line == line


def living_tensors() -> int:
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


def test_a_thousand_steps_leave_memory_where_it_was(device: VirtualDevice, recorder: Recorder) -> None:
    layer = torch.nn.Linear(8, 8, device="cuda")
    optimizer = torch.optim.AdamW(layer.parameters())

    def step() -> None:
        layer(torch.ones(4, 8, device="cuda")).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    gc.collect()
    before = torch.cuda.memory_allocated(), living_tensors()
    for _ in range(1000):
        step()
    gc.collect()

    assert (torch.cuda.memory_allocated(), living_tensors()) == before


def test_an_upload_is_seen_as_one(device: VirtualDevice, recorder: Recorder) -> None:
    torch.ones(4).to("cuda")

    (found,) = recorder.copies
    assert (found.direction, found.bytes, found.blocking, found.op) == (Direction.H2D, 16, True, "aten._to_copy")


def test_inference_mode_waits_like_any_other(device: VirtualDevice, recorder: Recorder) -> None:
    x = torch.ones(3, device="cuda")

    with torch.inference_mode():
        assert x.sum().item() == 3.0
        assert x[x > 0].float().reshape(3, 1).is_cuda
        assert bool(torch.allclose(x, x.clone()))

    assert [sync.op for sync in waits_of(recorder)] == [
        "aten._local_scalar_dense",
        "aten.index",
        "aten._local_scalar_dense",
    ]


def test_the_body_of_a_custom_operator_is_watched(device: VirtualDevice, recorder: Recorder) -> None:
    @torch.library.custom_op("syncwatch_tests::first_positive", mutates_args=())
    def first_positive(x: torch.Tensor) -> torch.Tensor:
        return torch.full((1,), x[x > 0][0].item(), device=x.device)

    assert first_positive(torch.ones(3, device="cuda")).is_cuda
    assert [sync.op for sync in waits_of(recorder)] == ["aten.index", "aten._local_scalar_dense"]


def test_checkpointed_layers_are_computed_again_on_the_device(device: VirtualDevice) -> None:
    layer: Any = torch.nn.Linear(4, 4, device="cuda")
    x = torch.ones(2, 4, device="cuda", requires_grad=True)

    loss: Any = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False).sum()
    loss.backward()

    assert x.grad is not None
    assert x.grad.is_cuda


def test_activations_saved_on_the_host_are_copied(device: VirtualDevice, recorder: Recorder) -> None:
    x = torch.ones(4, device="cuda", requires_grad=True)

    with torch.autograd.graph.save_on_cpu():
        loss: Any = x.exp().sum()
    loss.backward()

    assert [each.direction for each in recorder.copies] == [Direction.D2H, Direction.H2D]


def test_what_autograd_makes_belongs_on_the_device(device: VirtualDevice) -> None:
    x = torch.arange(8.0, device="cuda", requires_grad=True)

    loss: Any = x.as_strided((3, 4), (2, 1)).mul(2).sum()
    loss.backward()

    assert x.grad is not None
    assert x.grad.is_cuda
