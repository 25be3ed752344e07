"""Causes where copies between host and GPU wait (SW301 to SW305)."""

from __future__ import annotations

from syncwatch.attribute.causes.base import Cause

_PINNED = "https://docs.pytorch.org/tutorials/intermediate/pinmem_nonblock.html"
_CUDA_SYNC = "https://docs.nvidia.com/cuda/cuda-runtime-api/api-sync-behavior.html"

HOST_DATA = Cause(
    code="SW301",
    title="a GPU tensor is built from Python data",
    hint="build it on the CPU in pinned memory and copy with `non_blocking=True`, or make it with "
    "`torch.full`/`arange`.",
    what_it_does='`torch.tensor([...], device="cuda")`, `new_tensor`, `as_tensor`: host numbers, then a blocking copy.',
    why_it_waits="The numbers lie in pageable memory that is freed right after, so torch waits until the copy has "
    "read them.",
    example='starts = torch.tensor(offsets, device="cuda")',
    use_instead='starts = torch.tensor(offsets, pin_memory=True).to("cuda", non_blocking=True)',
    references=(_PINNED, "https://github.com/pytorch/pytorch/issues/120996"),
)

PAGEABLE_UPLOAD = Cause(
    code="SW302",
    title="a tensor is copied to the GPU, and the host waits for it",
    hint="pin the source once (`pin_memory=True`) and copy with `non_blocking=True`; both are needed.",
    what_it_does='`.to("cuda")`, `.cuda()` or `gpu_tensor.copy_(cpu_tensor)` from pageable host memory.',
    why_it_waits="A copy from pageable memory is staged through the driver, and torch waits for the stream after it.",
    example="batch = batch.to(device)",
    use_instead="batch = batch.pin_memory().to(device, non_blocking=True)  # better: a DataLoader with pin_memory=True",
    references=(_PINNED, _CUDA_SYNC),
)

HOST_INDEX = Cause(
    code="SW303",
    title="a GPU tensor is indexed with host data",
    hint="keep the index on the GPU, or copy it from pinned memory with `non_blocking=True` first.",
    what_it_does="`x[index]` where the index is a Python list or a CPU tensor of integers: it is copied to the GPU "
    "on the way.",
    why_it_waits="The index lies in pageable memory, so the hidden copy blocks like any other.",
    example="rows = x[[0, 2, 5]]",
    use_instead="rows = x[index]  # index made once, on x.device",
    references=("https://github.com/pytorch/pytorch/pull/186484", _PINNED),
)

NON_BLOCKING_THAT_BLOCKS = Cause(
    code="SW304",
    title="a copy with `non_blocking=True` blocks all the same",
    hint="pin the host side and keep it contiguous; `non_blocking` is only a wish otherwise.",
    what_it_does="A non-blocking copy whose host side is pageable, or pinned with gaps between its elements.",
    why_it_waits="The driver or torch stages it through pageable memory, and the host stands still for everything "
    "queued "
    "before, without any synchronization call that a profiler would show.",
    example="pageable.copy_(gpu, non_blocking=True)",
    use_instead="pinned.copy_(gpu, non_blocking=True)  # then an event before the host reads it",
    references=(_CUDA_SYNC, "https://github.com/vllm-project/vllm/pull/53491"),
)

SCALAR_BOUND = Cause(
    code="SW305",
    title="an index or a slice bound is a scalar on the GPU",
    hint="keep the bound as a Python int, or use `index_select`/`narrow` with what the host knows.",
    what_it_does="`x[:n]` or `x[i]` where `n` or `i` is a zero-dimensional GPU tensor.",
    why_it_waits="Python's index protocol needs a number, so the bound is read back behind the queue.",
    example="x = x[: lengths.max()]",
    use_instead="x = x[:max_length]  # the host's own number",
    references=("https://docs.pytorch.org/docs/stable/tensor_view.html",),
)
