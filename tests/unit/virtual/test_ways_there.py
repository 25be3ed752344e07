"""Every public way to put a tensor, a module or a storage onto the device puts it there, with the values it had."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

cuda: Any = torch.cuda
VALUES = [1.0, 2.0, 3.0]


pytestmark = pytest.mark.usefixtures("module_device")


def host() -> Any:
    return torch.tensor(VALUES)


def there() -> Any:
    return torch.tensor(VALUES, device="cuda")


def saved(value: Any) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return file


def subclass() -> Any:
    class Own(torch.Tensor):
        pass

    return host().as_subclass(Own)


MOVED: dict[str, Callable[[], Any]] = {
    'to("cuda")': lambda: host().to("cuda"),
    'to("cuda:0")': lambda: host().to("cuda:0"),
    "to(0)": lambda: host().to(0),
    "to(device)": lambda: host().to(torch.device("cuda")),
    "to(device=)": lambda: host().to(device="cuda"),
    "to(device, dtype)": lambda: host().to("cuda", torch.float16),
    "to(device=, dtype=)": lambda: host().to(device="cuda", dtype=torch.float64),
    "to(dtype=, device=) of integers": lambda: torch.tensor([1, 2, 3]).to(dtype=torch.float32, device="cuda"),
    "to(tensor)": lambda: host().to(there()),
    "to(tensor=)": lambda: host().to(tensor=there()),
    "to(tensor of another type)": lambda: host().to(there().half()),
    "to(non_blocking=)": lambda: host().to("cuda", non_blocking=True),
    "to(device, dtype, non_blocking)": lambda: host().to("cuda", torch.half, True),
    "to(device, dtype, non_blocking, copy)": lambda: host().to("cuda", torch.half, True, True),
    "to(copy=)": lambda: host().to("cuda", copy=True),
    "to(copy=) of the device's": lambda: there().to("cuda", copy=True),
    "to(memory_format=)": lambda: host().view(1, 3, 1, 1).to("cuda", memory_format=torch.channels_last).view(3),
    "to of pinned": lambda: host().pin_memory().to("cuda", non_blocking=True),
    "to of gapped": lambda: torch.tensor([1.0, 0, 2, 0, 3, 0])[::2].to("cuda"),
    "to of a subclass": lambda: subclass().to("cuda"),
    "cuda()": lambda: host().cuda(),
    "cuda(0)": lambda: host().cuda(0),
    "cuda(device)": lambda: host().cuda(torch.device("cuda", 0)),
    "cuda(device=)": lambda: host().cuda(device="cuda:0"),
    "cuda(non_blocking=)": lambda: host().cuda(non_blocking=True),
    "cuda(memory_format=)": lambda: host().cuda(memory_format=torch.preserve_format),
    "type_as": lambda: host().type_as(there()),
    "type(name)": lambda: host().type("torch.cuda.FloatTensor"),
    "type(class)": lambda: host().type(cuda.DoubleTensor),
    "copy_": lambda: torch.empty(3, device="cuda").copy_(host()),
    "empty_like then copy_": lambda: torch.empty_like(host(), device="cuda").copy_(host(), non_blocking=True),
    "set_data": lambda: _with_data(),
    "_to_copy": lambda: torch.ops.aten._to_copy(host(), device="cuda"),
    "asarray": lambda: torch.asarray(host(), device="cuda"),
    "as_tensor(tensor)": lambda: torch.as_tensor(host(), device="cuda"),
    "as_tensor(list)": lambda: torch.as_tensor(VALUES, device="cuda"),
    "as_tensor(numpy)": lambda: torch.as_tensor(host().numpy(), device="cuda"),
    "asarray(numpy)": lambda: torch.asarray(host().numpy(), device="cuda"),
    "from_numpy": lambda: torch.from_numpy(host().numpy()).to("cuda"),
    "frombuffer": lambda: torch.frombuffer(bytearray(host().numpy().tobytes()), dtype=torch.float32).cuda(),
    "from_dlpack": lambda: torch.utils.dlpack.from_dlpack(host()).to("cuda"),
    "tensor(list)": lambda: torch.tensor(VALUES, device="cuda"),
    "tensor(list, device=0)": lambda: torch.tensor(VALUES, device=0),
    "tensor(numpy)": lambda: torch.tensor(host().numpy(), device="cuda"),
    "FloatTensor(list)": lambda: cuda.FloatTensor(VALUES),
    "new_tensor": lambda: there().new_tensor(VALUES),
    "new_tensor(device=)": lambda: host().new_tensor(VALUES, device="cuda"),
    "new": lambda: there().new(VALUES),
    "load": lambda: torch.load(saved(there())),
    "load(map_location=)": lambda: torch.load(saved(host()), map_location="cuda"),
    "load(map_location=device)": lambda: torch.load(saved(host()), map_location=torch.device("cuda:0")),
    "load(map_location=dict)": lambda: torch.load(saved(there()), map_location={"cuda:0": "cuda:0"}),
    "load(map_location=function)": lambda: torch.load(saved(host()), map_location=_moved),
    "pickle": lambda: pickle.loads(pickle.dumps(there())),
    "copy": lambda: copy.copy(there()),
    "deepcopy": lambda: copy.deepcopy(there()),
    "Parameter": lambda: nn.Parameter(there()).detach(),
    "Parameter(...).cuda()": lambda: nn.Parameter(host()).cuda().detach(),
    "untyped storage": lambda: torch.empty(0, device="cuda").set_(_storage()),
    "storage": lambda: torch.empty(0, device="cuda").set_(_typed_storage()),
    "requires_grad": lambda: host().requires_grad_().to("cuda").detach(),
    "DataLoader": lambda: next(iter(DataLoader(TensorDataset(host()), batch_size=3)))[0].to("cuda"),
    "DataLoader(pin_memory=)": lambda: next(iter(DataLoader(TensorDataset(host()), batch_size=3, pin_memory=True)))[
        0
    ].to("cuda", non_blocking=True),
    "buffers of a stream": lambda: _on_a_stream(),
    "sparse": lambda: torch.tensor(VALUES).to_sparse().to("cuda").to_dense(),
    "sparse_coo_tensor": lambda: torch.sparse_coo_tensor(
        torch.tensor([[0, 1, 2]]), VALUES, (3,), device="cuda"
    ).to_dense(),
    "sparse csr": lambda: torch.tensor([VALUES]).to_sparse_csr().cuda().to_dense()[0],
    "sparse_csr_tensor": lambda: torch.sparse_csr_tensor([0, 3], [0, 1, 2], VALUES, device="cuda").to_dense()[0],
    "quantized": lambda: torch.quantize_per_tensor(there(), 1.0, 0, torch.qint8).dequantize(),
    "nested": lambda: torch.nested.nested_tensor([host()], device="cuda").unbind()[0],
    "nested, moved": lambda: torch.nested.nested_tensor([host()]).cuda().unbind()[0],
    "nested jagged": lambda: torch.nested.nested_tensor([host()], layout=torch.jagged).cuda().unbind()[0],
    "complex": lambda: torch.complex(host(), host()).cuda().real,
    "conjugated": lambda: torch.complex(host(), host()).conj().cuda().real,
    "expanded": lambda: torch.tensor([[1.0], [2.0], [3.0]]).expand(3, 4).cuda()[:, 2],
    "tensor.data": lambda: _through_data(),
    "broadcast": lambda: torch.nn.parallel.comm.broadcast(host().cuda(), [0])[0],
    "scatter": lambda: torch.nn.parallel.scatter(host(), [0])[0],
}


def _moved(kept: Any, place: str) -> Any:
    return kept.cuda()


def _storage() -> Any:
    kept: Any = host().untyped_storage()
    return kept.cuda()


def _typed_storage() -> Any:
    kept: Any = torch.FloatStorage(VALUES)
    return kept.cuda()


def _with_data() -> Any:
    parameter = nn.Parameter(torch.zeros(3, device="cuda"))
    parameter.data = host().cuda()
    return parameter.detach()


def _through_data() -> Any:
    tensor = host()
    tensor.data = tensor.data.to("cuda")
    return tensor


def _on_a_stream() -> Any:
    stream = cuda.Stream()
    with cuda.stream(stream):
        moved = host().pin_memory().to("cuda", non_blocking=True)
    cuda.current_stream().wait_stream(stream)
    moved.record_stream(cuda.current_stream())
    return moved


@pytest.mark.parametrize("way", MOVED)
def test_values_arrive(way: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensor = MOVED[way]()

    assert tensor.is_cuda
    assert tensor.device == torch.device("cuda", 0)
    assert tensor.cpu().tolist() == VALUES


# Tensors whose values are not compared, only their shapes.
MADE: dict[str, Callable[[], Any]] = {
    "zeros": lambda: torch.zeros(2, 3, device="cuda"),
    "zeros(dtype=)": lambda: torch.zeros(2, 3, dtype=torch.bool, device="cuda"),
    "ones": lambda: torch.ones((2, 3), device="cuda:0"),
    "empty": lambda: torch.empty(2, 3, device=torch.device("cuda")),
    "empty_strided": lambda: torch.empty_strided((2, 3), (3, 1), device="cuda"),
    "empty_permuted": lambda: torch.empty_permuted((2, 3), (1, 0), device="cuda"),
    "full": lambda: torch.full((2, 3), 1.0, device="cuda"),
    "eye": lambda: torch.eye(2, 3, device="cuda"),
    "arange": lambda: torch.arange(6, device="cuda").view(2, 3),
    "range": lambda: torch.arange(0.0, 6.0, 1.0, device="cuda").view(2, 3),
    "linspace": lambda: torch.linspace(0, 1, 6, device="cuda").view(2, 3),
    "logspace": lambda: torch.logspace(0, 1, 6, device="cuda").view(2, 3),
    "rand": lambda: torch.rand(2, 3, device="cuda"),
    "randn": lambda: torch.randn(2, 3, device="cuda"),
    "randint": lambda: torch.randint(0, 9, (2, 3), device="cuda"),
    "randperm": lambda: torch.randperm(6, device="cuda").view(2, 3),
    "rand(generator=)": lambda: torch.rand(2, 3, device="cuda", generator=torch.Generator("cuda")),
    "tril_indices": lambda: torch.tril_indices(2, 2, device="cuda"),
    "triu_indices": lambda: torch.triu_indices(2, 2, device="cuda"),
    "hann_window": lambda: torch.hann_window(6, device="cuda").view(2, 3),
    "fftfreq": lambda: torch.fft.fftfreq(6, device="cuda").view(2, 3),
    "complex": lambda: torch.zeros(2, 3, dtype=torch.complex64, device="cuda"),
    "zeros_like(device=)": lambda: torch.zeros_like(torch.zeros(2, 3), device="cuda"),
    "ones_like(device=)": lambda: torch.ones_like(torch.zeros(2, 3), device="cuda"),
    "empty_like(device=)": lambda: torch.empty_like(torch.zeros(2, 3), device="cuda"),
    "full_like(device=)": lambda: torch.full_like(torch.zeros(2, 3), 2.0, device="cuda"),
    "rand_like(device=)": lambda: torch.rand_like(torch.zeros(2, 3), device="cuda"),
    "randn_like(device=)": lambda: torch.randn_like(torch.zeros(2, 3), device="cuda"),
    "randint_like(device=)": lambda: torch.randint_like(torch.zeros(2, 3), 9, device="cuda"),
    "zeros_like": lambda: torch.zeros_like(torch.zeros(2, 3, device="cuda")),
    "rand_like": lambda: torch.rand_like(torch.zeros(2, 3, device="cuda")),
    "new_zeros": lambda: there().new_zeros(2, 3),
    "new_ones": lambda: there().new_ones(2, 3),
    "new_empty": lambda: there().new_empty(2, 3),
    "new_full": lambda: there().new_full((2, 3), 1.0),
    "new_empty_strided": lambda: there().new_empty_strided((2, 3), (3, 1)),
    "new_zeros(device=)": lambda: host().new_zeros(2, 3, device="cuda"),
    "new(sizes)": lambda: there().new(2, 3),
    "FloatTensor(sizes)": lambda: cuda.FloatTensor(2, 3),
    "LongTensor(sizes)": lambda: cuda.LongTensor(2, 3),
    "HalfTensor(sizes)": lambda: cuda.HalfTensor(2, 3),
    "nn.Parameter(empty)": lambda: nn.Parameter(torch.empty(2, 3, device="cuda")),
    "init": lambda: nn.init.xavier_uniform_(torch.empty(2, 3, device="cuda")),
    "trunc_normal_": lambda: nn.init.trunc_normal_(torch.empty(2, 3, device="cuda")),
    "scalar_tensor": lambda: torch.scalar_tensor(1.0, device="cuda").expand(2, 3),
    "cat": lambda: torch.cat([torch.zeros(1, 3, device="cuda")] * 2),
    "meta": lambda: torch.empty_like(torch.empty(2, 3, device="meta"), device="cuda"),
    "scripted": lambda: torch.jit.script(_scripted)(),
}


def _scripted() -> torch.Tensor:
    return torch.zeros(2, 3, device="cuda")


@pytest.mark.parametrize("way", MADE)
def test_a_factory_makes_a_tensor_there(way: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensor = MADE[way]()

    assert tensor.is_cuda
    assert tensor.device == torch.device("cuda", 0)
    assert tuple(tensor.shape) in {(2, 3), (2, 1)}


def layer() -> nn.Module:
    made = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    assert not next(made.parameters()).is_cuda
    return made


def _loaded(module: nn.Module, **options: Any) -> nn.Module:
    module.load_state_dict(torch.load(saved(layer().state_dict()), map_location="cuda"), **options)
    return module


def _made_in_place() -> nn.Module:
    with torch.device("cuda"):
        return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))


MODULES: dict[str, Callable[[], nn.Module]] = {
    'to("cuda")': lambda: layer().to("cuda"),
    "to(device=)": lambda: layer().to(device="cuda"),
    "to(device)": lambda: layer().to(torch.device("cuda:0")),
    "to(0)": lambda: layer().to(0),
    "to(tensor)": lambda: layer().to(torch.zeros(1, device="cuda")),
    "to(tensor=)": lambda: layer().to(tensor=torch.zeros(1, device="cuda")),
    "to(device, dtype)": lambda: layer().to("cuda", torch.float32),
    "to(non_blocking=)": lambda: layer().to("cuda", non_blocking=True),
    "cuda()": lambda: layer().cuda(),
    "cuda(0)": lambda: layer().cuda(0),
    "cuda(device=)": lambda: layer().cuda(device=torch.device("cuda")),
    "_apply": lambda: layer()._apply(lambda each: each.cuda()),
    "device=": lambda: nn.Sequential(nn.Linear(3, 3, device="cuda"), nn.BatchNorm1d(3, device="cuda")),
    "with torch.device": _made_in_place,
    "to_empty": lambda: _loaded(layer().to("meta").to_empty(device="cuda")),
    "load_state_dict": lambda: _loaded(layer().cuda()),
    "load_state_dict(assign=)": lambda: _loaded(layer(), assign=True),
    "deepcopy": lambda: copy.deepcopy(layer().cuda()),
    "pickle": lambda: pickle.loads(pickle.dumps(layer().cuda())),
    "DataParallel": lambda: nn.DataParallel(layer().cuda()),
    "skip_init": lambda: nn.Sequential(nn.utils.skip_init(nn.Linear, 3, 3, device="cuda"), nn.BatchNorm1d(3).cuda()),
}


@pytest.mark.parametrize("way", MODULES)
def test_a_module_goes_there_whole(way: str) -> None:
    module = MODULES[way]()

    assert all(each.is_cuda for each in (*module.parameters(), *module.buffers()))
    out = module(torch.ones(4, 3, device="cuda"))
    out.sum().backward()
    assert out.is_cuda
    assert all(each.grad is not None and each.grad.is_cuda for each in module.parameters())


def test_a_module_keeps_its_values_on_the_way_there_and_back() -> None:
    module = layer().eval()
    x = torch.randn(4, 3)
    before = module(x)

    there_and_back = copy.deepcopy(module).cuda().cpu()

    assert torch.equal(there_and_back(x), before)
    assert not any(each.is_cuda for each in there_and_back.parameters())


STORAGES: dict[str, Callable[[], Any]] = {
    "UntypedStorage(size, device=)": lambda: torch.UntypedStorage(12, device="cuda"),
    "UntypedStorage(bytes, device=)": lambda: torch.UntypedStorage(list(range(12)), device="cuda"),
    "UntypedStorage(device=device)": lambda: torch.UntypedStorage(12, device=torch.device("cuda", 0)),
    "TypedStorage(device=)": lambda: torch.TypedStorage(3, dtype=torch.float32, device="cuda")._untyped_storage,
    "untyped_storage()": lambda: there().untyped_storage(),
    "untyped_storage().cuda()": lambda: host().untyped_storage().cuda(),
    "untyped_storage().to": lambda: host().untyped_storage().to(device="cuda"),
    "storage()": lambda: there().storage()._untyped_storage,
    "storage().cuda()": lambda: host().storage().cuda()._untyped_storage,
    "FloatStorage.cuda()": lambda: torch.FloatStorage(VALUES).cuda()._untyped_storage,
    "cuda.FloatStorage": lambda: cuda.FloatStorage(3)._untyped_storage,
    "clone": lambda: there().untyped_storage().clone(),
    "deepcopy": lambda: copy.deepcopy(there().untyped_storage()),
}


@pytest.mark.parametrize("way", STORAGES)
def test_a_storage_is_there(way: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        storage = STORAGES[way]()

    assert storage.is_cuda
    assert (storage.device, storage.nbytes()) == (torch.device("cuda", 0), 12)
    assert not storage.cpu().is_cuda


def test_the_default_device_is_honoured_by_tensors_and_modules() -> None:
    torch.set_default_device("cuda")
    try:
        made = (torch.zeros(2), torch.tensor([1]), torch.arange(3), torch.rand(2), nn.Linear(2, 2).weight)
    finally:
        torch.set_default_device(None)

    assert all(each.is_cuda for each in made)
    assert not torch.zeros(2).is_cuda


def test_a_generator_is_on_the_device_and_draws_its_numbers() -> None:
    generator = torch.Generator("cuda")
    generator.manual_seed(3)
    state = generator.get_state()
    first = torch.rand(4, device="cuda", generator=generator)

    generator.set_state(state)

    assert generator.device.type == "cuda"
    assert generator.initial_seed() == 3
    assert torch.equal(torch.rand(4, device="cuda", generator=generator), first)
    assert not torch.equal(torch.rand(4, device="cuda", generator=generator), first)
    assert torch.equal(generator.clone_state().get_state(), generator.get_state())


BACK: dict[str, Callable[[], Any]] = {
    "cpu()": lambda: there().cpu(),
    'to("cpu")': lambda: there().to("cpu"),
    "to(tensor)": lambda: there().to(host()),
    "type": lambda: there().type(torch.FloatTensor),
    "type_as": lambda: there().type_as(host()),
    "copy_": lambda: torch.empty(3).copy_(there()),
    "zeros_like(device=)": lambda: torch.zeros_like(there(), device="cpu") + host(),
    "load(map_location=)": lambda: torch.load(saved(there()), map_location="cpu"),
    "sparse": lambda: there().to_sparse().cpu().to_dense(),
    "nested": lambda: torch.nested.nested_tensor([there()]).cpu().unbind()[0],
    "nested jagged": lambda: torch.nested.nested_tensor([there()], layout=torch.jagged).cpu().unbind()[0],
    "csr": lambda: there()[None].to_sparse_csr().cpu().to_dense()[0],
    "tolist": lambda: torch.tensor(there().tolist()),
    "storage": lambda: torch.empty(0).set_(there().untyped_storage().cpu()),
}


@pytest.mark.parametrize("way", BACK)
def test_values_come_back(way: str) -> None:
    tensor = BACK[way]()

    assert tensor.device.type == "cpu"
    assert tensor.tolist() == VALUES
