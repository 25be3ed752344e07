"""Parts of torch beyond its operators run on the device: compilers, graphs, optimizers, a user's own CUDA functions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual import bridge
from syncwatch.sense.virtual.device import VirtualDevice
from tests.helpers.waits import waits_of

cuda: Any = torch.cuda
library: Any = torch.library
READ = "aten._local_scalar_dense"


pytestmark = pytest.mark.usefixtures("module_device")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def ops(recorder: Recorder) -> list[str | None]:
    return [sync.op for sync in waits_of(recorder)]


def test_the_users_cuda_function_is_the_one_that_runs(recorder: Recorder) -> None:
    own = library.Library("syncwatch_own", "DEF")
    try:
        own.define("twice(Tensor x) -> Tensor")
        own.impl("twice", lambda x: x + 100, "CPU")
        own.impl("twice", lambda x: x * 2 + x.sum().item(), "CUDA")
        x = torch.ones(3, device="cuda")

        out = torch.ops.syncwatch_own.twice(x)

        assert out.is_cuda
        assert out.tolist() == [5.0] * 3
        assert torch.ops.syncwatch_own.twice(torch.ones(3)).tolist() == [101.0] * 3
        assert ops(recorder)[0] == READ
    finally:
        own._destroy()


def test_a_custom_operator_has_a_function_for_the_device(recorder: Recorder) -> None:
    @library.custom_op("syncwatch_own2::shifted", mutates_args=(), device_types="cpu")  # type: ignore[untyped-decorator]
    def shifted(x: torch.Tensor) -> torch.Tensor:
        return x + 100

    @shifted.register_kernel("cuda")  # type: ignore[untyped-decorator]
    def shifted_there(x: torch.Tensor) -> torch.Tensor:
        assert x.is_cuda
        return x + 1

    assert shifted(torch.ones(3, device="cuda")).tolist() == [2.0] * 3
    assert shifted(torch.ones(3)).tolist() == [101.0] * 3


def test_a_custom_operator_passes_gradients() -> None:
    @library.custom_op("syncwatch_own3::squared", mutates_args=())  # type: ignore[untyped-decorator]
    def squared(x: torch.Tensor) -> torch.Tensor:
        return x * x

    squared.register_autograd(
        lambda ctx, gradient: gradient * 2 * ctx.saved_tensors[0],
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[0]),
    )
    x = torch.full((3,), 3.0, device="cuda", requires_grad=True)
    squared(x).sum().backward()

    assert x.grad is not None
    assert x.grad.tolist() == [6.0] * 3


def test_an_own_function_takes_the_place_of_torchs() -> None:
    own = library.Library("aten", "IMPL")
    try:
        own.impl("digamma", lambda x: torch.full_like(x, 7.0), "CUDA")
        assert torch.digamma(torch.ones(2, device="cuda")).tolist() == [7.0, 7.0]
    finally:
        own._destroy()


def test_cond_runs_the_branch_that_holds() -> None:
    higher: Any = torch.cond
    x = torch.ones(3, device="cuda")

    out = higher(x.sum() > 2, lambda each: each + 1, lambda each: each - 1, (x,))

    assert out.is_cuda
    assert out.tolist() == [2.0] * 3


def test_a_traced_module_runs() -> None:
    layer = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).cuda()
    x = torch.randn(2, 4, device="cuda")

    assert torch.equal(torch.jit.trace(layer, x)(x), layer(x))


def _scripted(x: torch.Tensor) -> torch.Tensor:
    if bool(x.sum() > 0):
        return x + 1
    return x - 1


def test_a_scripted_function_runs_and_its_waits_are_seen(recorder: Recorder) -> None:
    scripted: Any = torch.jit.script(_scripted)
    x = torch.ones(3, device="cuda")

    for _ in range(4):
        assert scripted(x).is_cuda

    assert len(waits_of(recorder)) == 4


def test_a_model_is_exported() -> None:
    layer = nn.Linear(4, 4).cuda()
    x = torch.randn(2, 4, device="cuda")

    program = torch.export.export(layer, (x,))

    assert torch.equal(program.module()(x), layer(x))


def test_one_gpu_is_enough_for_data_parallel() -> None:
    model = nn.DataParallel(nn.Linear(4, 2).cuda(), device_ids=[0])

    out = model(torch.ones(3, 4, device="cuda"))
    out.sum().backward()

    assert out.is_cuda
    assert all(each.grad is not None and each.grad.is_cuda for each in model.parameters())


def test_attention_by_any_kernel_has_the_same_values() -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    q, k, v = (torch.randn(1, 2, 8, 16, device="cuda") for _ in range(3))
    wanted = F.scaled_dot_product_attention(q.cpu(), k.cpu(), v.cpu(), is_causal=True)

    for backend in (SDPBackend.MATH, SDPBackend.EFFICIENT_ATTENTION):
        with sdpa_kernel(backend):
            found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        assert found.is_cuda
        torch.testing.assert_close(found.cpu(), wanted)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        half = F.scaled_dot_product_attention(q.half(), k.half(), v.half(), is_causal=True)
    torch.testing.assert_close(half.float().cpu(), wanted, atol=1e-2, rtol=1e-2)


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "SGD fused": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, fused=True),
    "SGD foreach": lambda p: torch.optim.SGD(p, lr=0.1, foreach=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "Adam fused": lambda p: torch.optim.Adam(p, lr=0.1, fused=True),
    "Adam foreach": lambda p: torch.optim.Adam(p, lr=0.1, foreach=True),
    "Adam capturable": lambda p: torch.optim.Adam(p, lr=0.1, capturable=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1),
    "AdamW fused": lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
    "AdamW by turns": lambda p: torch.optim.AdamW(p, lr=0.1, foreach=False),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.1),
    "Adamax": lambda p: torch.optim.Adamax(p, lr=0.1),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.1),
    "RAdam": lambda p: torch.optim.RAdam(p, lr=0.1),
    "Adadelta": lambda p: torch.optim.Adadelta(p, lr=0.1),
    "ASGD": lambda p: torch.optim.ASGD(p, lr=0.1),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_takes_the_steps_of_the_host(name: str) -> None:
    def trained(where: str) -> list[torch.Tensor]:
        torch.manual_seed(2)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        x = torch.randn(6, 4)
        model.to(where)
        # `capturable` does not run on the CPU; plain Adam gives the same values.
        makes = OPTIMIZERS["Adam" if "capturable" in name and where == "cpu" else name]
        optimizer = makes(model.parameters())
        for _ in range(3):
            optimizer.zero_grad()
            model(x.to(where)).pow(2).sum().backward()
            optimizer.step()
        return [each.detach() for each in model.parameters()]

    found = trained("cuda")

    assert all(each.is_cuda for each in found)
    torch.testing.assert_close([each.cpu() for each in found], trained("cpu"), rtol=1e-4, atol=1e-5)


def test_sparse_gradients_are_optimized() -> None:
    def trained(where: str) -> torch.Tensor:
        table = nn.Embedding.from_pretrained(torch.arange(12.0).view(4, 3), freeze=False, sparse=True).to(where)
        optimizer = torch.optim.SparseAdam(table.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            table(torch.tensor([1, 1, 3], device=where)).sum().backward()
            optimizer.step()
        weight: torch.Tensor = table.weight.detach()
        return weight

    found = trained("cuda")

    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), trained("cpu"))


def test_a_scaler_steps_with_one_wait_and_skips_what_overflowed(recorder: Recorder) -> None:
    weight = nn.Parameter(torch.ones(4, device="cuda"))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scaler = torch.amp.GradScaler("cuda", init_scale=4.0)

    def step(factor: float) -> None:
        optimizer.zero_grad()
        loss: Any = scaler.scale((weight * factor).sum())
        loss.backward()
        scaler.step(optimizer)
        scaler.update()

    step(1.0)
    assert ops(recorder) == [READ]
    torch.testing.assert_close(weight.detach().cpu(), torch.full((4,), 0.9))
    step(float("inf"))

    torch.testing.assert_close(weight.detach().cpu(), torch.full((4,), 0.9))
    assert scaler.get_scale() == 2.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_chooses_types_as_on_a_gpu(dtype: torch.dtype) -> None:
    layer = nn.Linear(4, 4).cuda()
    x = torch.randn(2, 4, device="cuda")

    with torch.autocast("cuda", dtype=dtype):
        assert layer(x).dtype is dtype
        assert (x @ x.t()).dtype is dtype
        assert F.conv1d(x[None], torch.ones(2, 2, 1, device="cuda")).dtype is dtype
        assert x.bfloat16().softmax(-1).dtype is torch.float32
        assert x.exp().dtype is torch.float32
        assert F.mse_loss(x.half(), x.half()).dtype is torch.float32
        layer(x).float().sum().backward()

    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype is torch.float32


def test_a_graph_of_a_training_step_is_replayed() -> None:
    model = nn.Linear(4, 2).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.ones(3, 4, device="cuda")
    other = nn.Linear(4, 2).cuda()
    other.load_state_dict(model.state_dict())

    def step(module: nn.Module, by: torch.optim.Optimizer) -> None:
        by.zero_grad(set_to_none=False)
        module(x).pow(2).sum().backward()
        by.step()

    for each in model.parameters():
        each.grad = torch.zeros_like(each)
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        step(model, optimizer)
    plain = torch.optim.SGD(other.parameters(), lr=0.1)
    for _ in range(3):
        graph.replay()
        for each in other.parameters():
            each.grad = torch.zeros_like(each)
        step(other, plain)

    torch.testing.assert_close(model.weight.cpu(), other.weight.cpu())


def test_callables_are_graphed() -> None:
    layer = nn.Linear(4, 2).cuda()
    x = torch.randn(3, 4, device="cuda")
    wanted = layer(x).detach()

    graphed = cuda.make_graphed_callables(layer, (x.clone().requires_grad_(),))

    torch.testing.assert_close(graphed(x).detach().cpu(), wanted.cpu())


def test_torch_says_that_it_was_built_for_cuda() -> None:
    assert torch.version.cuda is not None
    assert torch.backends.cudnn.enabled and torch.backends.cudnn.is_available()
    assert torch.backends.cudnn.is_acceptable(torch.ones(1, device="cuda"))
    assert torch.cuda.get_arch_list() is not None
    assert torch.get_device_module("cuda") is torch.cuda
    assert torch.cuda.get_device_properties().name.startswith("NVIDIA H200")


def test_the_profiler_runs_beside_the_device() -> None:
    x = torch.ones(8, 8, device="cuda")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        (x @ x).sum().item()

    assert {"aten::mm", "aten::sum"} <= {event.key for event in profile.key_averages()}


def test_anomalies_are_found_on_the_device() -> None:
    x = torch.zeros(2, device="cuda", requires_grad=True)

    with torch.autograd.set_detect_anomaly(True), pytest.raises(RuntimeError, match="returned nan values"):
        (x.sqrt() * 0).sum().backward()


def test_gradients_are_checked_numerically() -> None:
    x = torch.rand(3, dtype=torch.float64, device="cuda", requires_grad=True)

    assert torch.autograd.gradcheck(lambda each: (each.sin() * each).sum(), (x,))


def test_hooks_run_and_their_waits_are_seen(recorder: Recorder) -> None:
    layer = nn.Linear(4, 4, device="cuda")
    layer.register_forward_hook(lambda module, inputs, out: out.sum().item() and None)
    layer.weight.register_hook(lambda gradient: gradient.norm().item() and None)

    layer(torch.ones(2, 4, device="cuda")).sum().backward()

    assert ops(recorder) == [READ, READ]


REFUSED: dict[str, tuple[Callable[[], Any], type[BaseException], str]] = {
    "a process group": (lambda: torch.distributed.init_process_group("nccl"), NotMeasuredError, "process group"),
    "a second GPU": (lambda: torch.ones(1, device="cuda:1"), RuntimeError, "invalid device ordinal"),
    "a pointer for other libraries": (
        lambda: torch.ones(1, device="cuda").__dlpack__(),
        BufferError,
        r"Call \.cpu\(\) first",
    ),
    "numpy": (lambda: torch.ones(1, device="cuda").numpy(), TypeError, "can't convert cuda:0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused_in_a_sentence(name: str) -> None:
    call, error, said = REFUSED[name]

    with pytest.raises(error, match=said):
        call()


def test_an_operator_that_was_defined_anew_under_its_name_is_another(recorder: Recorder) -> None:
    x = torch.ones(3, device="cuda")
    definitions: list[tuple[str, Any]] = [
        ("anew(Tensor x) -> Tensor", lambda x: x + 1),
        ("anew(Tensor x, *, ScalarType? dtype=None) -> Tensor", lambda x, *, dtype=None: x.to(dtype)),
    ]
    results = []
    for number, (schema, kernel) in enumerate(definitions):
        library = torch.library.Library("syncwatch_tests", "DEF")
        library.define(schema)
        library.impl("anew", kernel, "CPU")
        results.append(torch.ops.syncwatch_tests.anew(x, **([{}, {"dtype": torch.float64}][number])))
        described = [each for each in bridge._OPERATORS.values() if each.name == "syncwatch_tests.anew"]
        assert [each.dtypes for each in described] == [((), (1,))[number]]
        library._destroy()

    assert [each.tolist() for each in results] == [[2.0] * 3, [1.0] * 3]
    assert [each.dtype for each in results] == [torch.float32, torch.float64]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_python_raises_while_a_kernel_is_launched_comes_out(
    device: VirtualDevice, error: type[BaseException]
) -> None:
    def interrupt(sync: object) -> None:
        raise error("on the way")

    recorder = Recorder(now_ns=device.now_ns)
    recorder.after = interrupt
    device.record_into(recorder)
    try:
        with pytest.raises(error, match="on the way"):
            device.engine.kernel("spin_kernel", 10)
        with pytest.raises(error, match="on the way"):
            torch.ones(3, device="cuda")
    finally:
        device.record_into(None)

    assert torch.ones(3, device="cuda").tolist() == [1.0] * 3
    device.engine.kernel("spin_kernel", 10)
