"""What the device leaves behind: torch as it was, the CPU's random numbers as they were, and no memory."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice, WatchedVirtualDevice, running_engine
from tests.helpers.waits import waits_of


@contextlib.contextmanager
def on() -> Any:
    device = VirtualDevice()
    device.start()
    try:
        yield device
    finally:
        device.stop()


REFUSALS = "not compiled with CUDA|'CUDA' backend|NVIDIA driver|CUDA driver version"
"""Which of them torch says depends on its build, and on whether it initialized CUDA before in this process."""


def refused() -> bool:
    """Return whether torch refuses a tensor on a GPU that is not there, in words of its own."""
    with pytest.raises((RuntimeError, AssertionError), match=REFUSALS):
        torch.zeros(3, device="cuda")
    return True


pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU that stays when the device goes")


def test_torch_says_what_it_said_before() -> None:
    def said() -> tuple[Any, ...]:
        return (
            torch.cuda.is_available(),
            torch.cuda.device_count(),
            torch.version.cuda,
            torch.backends.cudnn.is_available(),
            torch.accelerator.is_available(),
            torch.cuda.is_initialized(),
        )

    before = said()
    with on():
        assert torch.cuda.is_available()
        torch.zeros(3, device="cuda").sum().item()

    assert said() == before
    assert before[0] is False
    assert refused()


def test_an_operator_on_a_tensor_that_is_left_is_refused() -> None:
    with on():
        x = torch.ones(3, device="cuda")

    for call in (lambda: x + 1, lambda: x.sum(), lambda: x.cpu(), lambda: x.item(), lambda: torch.ones_like(x)):
        with pytest.raises((RuntimeError, NotImplementedError, AssertionError)):
            call()
    assert (tuple(x.shape), x.dtype, x.is_cuda) == ((3,), torch.float32, True)


def test_attention_is_chosen_by_torch_again() -> None:
    with on():
        x = torch.ones(1, 1, 4, 8, device="cuda")
        assert _attended(x).shape == x.shape

    # A torch for CUDA asks the driver which kernel suits the GPU; one for the CPU has nobody to ask.
    own = "not linked with support for cuda" if torch.version.cuda is None else "CUDA driver version|NVIDIA driver"
    with pytest.raises(RuntimeError, match=own):
        _attended(x)


def test_tensors_of_the_host_are_not_touched() -> None:
    def computed() -> list[Any]:
        torch.manual_seed(5)
        layer = nn.LSTM(4, 4)
        out, _ = layer(torch.randn(3, 2, 4))
        out.sum().backward()
        weight: Any = layer.weight_ih_l0
        return [out.tolist(), weight.grad.tolist(), torch.eye(2).to_sparse().to_dense().tolist()]

    before = computed()
    with on():
        during = computed()

    assert during == before
    assert computed() == before


def _attended(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.5)


DRAWS: dict[str, Callable[[], object]] = {
    "rand": lambda: torch.rand(100, device="cuda"),
    "randn of an odd number": lambda: torch.randn(17, device="cuda"),
    "randperm": lambda: torch.randperm(10, device="cuda"),
    "dropout": lambda: nn.functional.dropout(torch.ones(100, device="cuda")),
    "init": lambda: nn.Linear(4, 4, device="cuda"),
    "bernoulli_": lambda: torch.ones(10, device="cuda").bernoulli_(0.5),
    "multinomial": lambda: torch.ones(10, device="cuda").multinomial(2),
    "normal_": lambda: torch.ones(3, device="cuda").normal_(),
    "a dropout of a recurrent layer": lambda: nn.LSTM(2, 2, 2, dropout=0.5, device="cuda")(
        torch.ones(3, 1, 2, device="cuda")
    ),
    "attention with dropout": lambda: _attended(torch.ones(1, 1, 4, 8, device="cuda")),
    "a generator of its own": lambda: torch.rand(3, device="cuda", generator=torch.Generator("cuda")),
    "torch.cuda.manual_seed": lambda: torch.cuda.manual_seed(7),
}


@pytest.mark.parametrize("name", DRAWS)
def test_numbers_drawn_on_the_device_leave_the_hosts_alone(name: str) -> None:
    torch.manual_seed(3)
    wanted = torch.randn(7).tolist(), torch.rand(5).tolist()

    with on():
        torch.manual_seed(3)
        state = torch.get_rng_state()
        DRAWS[name]()
        assert torch.equal(torch.get_rng_state(), state)
        found = torch.randn(7).tolist(), torch.rand(5).tolist()

    assert found == wanted


def test_numbers_drawn_on_the_host_leave_the_devices_alone() -> None:
    with on():
        torch.manual_seed(3)
        wanted = torch.randn(7, device="cuda").tolist()
        torch.manual_seed(3)
        torch.randn(7)
        assert torch.randn(7, device="cuda").tolist() == wanted


def test_two_draws_of_the_device_differ() -> None:
    with on():
        assert torch.rand(8, device="cuda").tolist() != torch.rand(8, device="cuda").tolist()


def test_a_forked_state_of_random_numbers_comes_back() -> None:
    with on():
        torch.manual_seed(1)
        with torch.random.fork_rng(devices=[0]):
            inside = torch.rand(4, device="cuda").tolist(), torch.rand(4).tolist()
        assert (torch.rand(4, device="cuda").tolist(), torch.rand(4).tolist()) == inside


def test_the_device_goes_with_the_last_of_those_that_nest() -> None:
    with on() as outer:
        x = torch.ones(3, device="cuda")
        with on() as inner:
            assert inner.engine is outer.engine is running_engine()
            y = x + 1
        assert y.tolist() == [2.0] * 3
        assert torch.cuda.is_available()

    assert running_engine() is None
    assert not torch.cuda.is_available()


def test_devices_may_be_left_in_another_order() -> None:
    first, second = VirtualDevice(), VirtualDevice()
    first.start()
    second.start()
    first.stop()
    x = torch.ones(3, device="cuda")
    second.stop()

    assert x.is_cuda
    assert not torch.cuda.is_available()


def test_a_device_is_put_on_and_off_many_times() -> None:
    for turn in range(6):
        with on():
            assert torch.full((2,), float(turn), device="cuda").tolist() == [turn, turn]

    assert refused()


def test_gradients_that_wait_for_a_device_that_is_on_again() -> None:
    with on():
        x = torch.ones(3, device="cuda", requires_grad=True)
        y = (x * 2).sum()

    with on():
        y.backward()
        assert x.grad is not None
        assert x.grad.tolist() == [2.0] * 3


def test_a_thread_that_was_there_before_the_device_works_on_it() -> None:
    ready = threading.Event()
    found: list[float] = []

    def work() -> None:
        ready.wait()
        found.append((torch.ones(3, device="cuda") * 2).sum().item())

    thread = threading.Thread(target=work)
    thread.start()
    with on() as device:
        recorder = Recorder(now_ns=device.now_ns)
        device.record_into(recorder)
        ready.set()
        thread.join()
        device.record_into(None)

    assert found == [6.0]
    assert [sync.op for sync in waits_of(recorder)] == ["aten._local_scalar_dense"]


def test_a_pool_that_was_there_before_the_device_works_on_each() -> None:
    with ThreadPoolExecutor(2) as pool:
        pool.submit(lambda: None).result()
        for _ in range(3):
            with on():
                sums = list(pool.map(lambda value: torch.full((4,), value, device="cuda").sum().item(), range(8)))
                assert sums == [4 * value for value in range(8)]


def test_the_threads_of_backward_are_watched() -> None:
    class Reads(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
            threads.add(threading.get_ident())
            gradient.sum().item()
            return gradient

    threads: set[int] = set()
    apply: Any = Reads.apply
    with on() as device:
        recorder = Recorder(now_ns=device.now_ns)
        device.record_into(recorder)
        x = torch.ones(3, device="cuda", requires_grad=True)
        apply(x).sum().backward()
        device.record_into(None)

    assert len(threads) == 1
    assert [sync.op for sync in waits_of(recorder)] == ["aten._local_scalar_dense"]


def test_many_threads_share_the_device() -> None:
    def train(seed: int) -> tuple[list[float], int]:
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(8, 8, generator=generator).cuda().requires_grad_()
        for _ in range(6):
            weight.pow(2).sum().backward()
        assert weight.grad is not None
        return weight.grad.cpu().flatten().tolist(), seed

    with on(), ThreadPoolExecutor(4) as pool:
        for gradient, seed in pool.map(train, range(8)):
            weight = torch.randn(8, 8, generator=torch.Generator().manual_seed(seed))
            torch.testing.assert_close(torch.tensor(gradient), (12 * weight).flatten())
        gc.collect()
        assert torch.cuda.memory_allocated() == 0


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_ten_thousand_steps_take_no_more_memory_than_a_thousand() -> None:
    with on() as device:
        weight: Any = torch.zeros(8, 8, device="cuda", requires_grad=True)
        x = torch.ones(4, 8, device="cuda")

        def step() -> None:
            (x @ weight).sum().backward()
            with torch.no_grad():
                weight.sub_(weight.grad, alpha=0.01)
            weight.grad = None

        def counted() -> tuple[int, int]:
            gc.collect()
            return torch.cuda.memory_allocated(), len(gc.get_objects())

        for _ in range(1000):
            step()
        allocated, objects = counted()
        resident = resident_bytes() if os.path.exists("/proc/self/statm") else 0
        for _ in range(9000):
            step()
        allocated_after, objects_after = counted()

        assert allocated_after == allocated
        assert objects_after - objects < 100
        # 9000 steps of 20 operators: with 100 bytes left for each it would be 18 MB.
        assert not resident or resident_bytes() - resident < 8 << 20
        assert device.engine.used > 10_000 * 5


def test_a_recorder_holds_what_was_launched_and_the_device_does_not() -> None:
    with on() as device:
        x = torch.ones(3, device="cuda")
        recorder = Recorder(now_ns=device.now_ns)
        device.record_into(recorder)
        for _ in range(500):
            x.add_(1)
        device.record_into(None)
        for _ in range(500):
            x.add_(1)

        assert len(recorder.kernels) == 500


def test_tritons_choice_of_the_interpreter_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    device = VirtualDevice()
    device.start()
    chosen = os.environ.get("TRITON_INTERPRET")
    device.stop()

    assert (chosen, os.environ.get("TRITON_INTERPRET")) == ("1", None)


def test_what_was_recorded_can_be_looked_at_while_and_after_the_device_is_taken_off() -> None:
    device = WatchedVirtualDevice()
    with device.watch("code") as sensed:
        torch.ones(3, device="cuda").sum().item()
    device.close()

    assert sensed.snapshot is not None
    recording = sensed.snapshot()
    assert recording is not None and len(waits_of(recording)) == 1
    assert device.used()
