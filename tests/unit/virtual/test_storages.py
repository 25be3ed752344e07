"""Storages, quantized and sparse tensors, generators and default types on the virtual device."""

from __future__ import annotations

import gc

import pytest
import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.virtual.device import VirtualDevice

pytestmark = pytest.mark.usefixtures("device")


def test_a_storage_grows_and_its_views_see_it() -> None:
    tensor = torch.arange(4.0, device="cuda")
    view = tensor[1:3]

    tensor.untyped_storage().resize_(32)

    grown = torch.empty(0, device="cuda").set_(tensor.untyped_storage(), 0, (8,), (1,))
    grown[1] = 7.0
    assert view.tolist() == [7.0, 2.0]


def test_a_storage_gives_its_memory_back() -> None:
    before = torch.cuda.memory_allocated()
    tensor = torch.zeros(1 << 20, device="cuda")

    tensor.untyped_storage().resize_(0)

    assert torch.cuda.memory_allocated() == before


def test_a_storage_is_not_shared_with_other_processes() -> None:
    with pytest.raises(NotMeasuredError, match="other processes"):
        torch.zeros(2, device="cuda").untyped_storage()._share_cuda_()


@pytest.mark.filterwarnings("ignore")
def test_memory_that_a_kernel_keeps_outlives_its_tensor() -> None:
    scales, zeros = torch.tensor([0.5, 0.25], device="cuda"), torch.tensor([0, 1], device="cuda")
    tensor = torch.quantize_per_channel(torch.arange(6.0, device="cuda").view(2, 3), scales, zeros, 0, torch.qint8)

    del scales, zeros
    gc.collect()
    kept = [torch.full((2,), 9.0, device="cuda") for _ in range(64)]

    assert tensor.dequantize().tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert len(kept) == 64


@pytest.mark.filterwarnings("ignore")
def test_quantized_tensors_are_made_on_the_device_and_copied_from_it() -> None:
    empty = torch._empty_affine_quantized([3], scale=0.5, zero_point=1, dtype=torch.quint8, device="cuda")
    tensor = torch.quantize_per_tensor(torch.arange(3.0, device="cuda"), 0.5, 2, torch.quint8)

    assert (empty.is_cuda, empty.q_scale(), empty.q_zero_point()) == (True, 0.5, 1)
    assert tensor.cpu().dequantize().tolist() == [0.0, 1.0, 2.0]


def test_a_generator_of_the_cpu_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
        torch.rand(2, device="cuda", generator=torch.Generator())


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_draws_the_same_numbers_again(reentrant: bool) -> None:
    inputs = torch.ones(256, device="cuda", requires_grad=True)

    out = torch.utils.checkpoint.checkpoint(torch.nn.functional.dropout, inputs, use_reentrant=reentrant)
    out.sum().backward()

    assert inputs.grad is not None
    assert torch.equal(inputs.grad != 0, out != 0)


def test_the_default_type_may_be_one_of_cuda() -> None:
    torch.set_default_tensor_type("torch.cuda.FloatTensor")
    here = torch.ones(1).device
    torch.set_default_tensor_type(torch.FloatTensor)

    assert (here.type, torch.ones(1).device.type) == ("cuda", "cpu")


def test_fourier_transforms_of_half_precision_give_half_precision() -> None:
    assert torch.fft.fft(torch.ones(8, device="cuda").half()).dtype == torch.complex32


def test_a_kernel_that_only_cuda_has_is_refused_in_one_sentence(device: VirtualDevice) -> None:
    with pytest.raises(NotImplementedError, match=r"The virtual device cannot compute aten\._cslt_compress: [^.]*\.$"):
        torch._cslt_compress(torch.ones(64, 64, device="cuda").half())


@pytest.mark.filterwarnings("ignore")
def test_results_of_sparse_kernels_are_on_the_device_in_all_their_parts() -> None:
    identity = torch.eye(4, device="cuda").to_sparse_csr()

    for found in (identity + identity, identity @ identity):
        assert {each.device.type for each in (found.crow_indices(), found.col_indices(), found.values())} == {"cuda"}


def test_what_has_a_kernel_for_the_cpu_alone_is_refused_as_on_cuda() -> None:
    with pytest.raises(NotImplementedError, match=r"'aten::histogram\.bin_ct' with arguments from the 'CUDA' backend"):
        torch.histogram(torch.ones(3, device="cuda"), 4)
