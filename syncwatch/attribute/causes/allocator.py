"""Causes where memory makes the host stand still (SW601, SW602)."""

from __future__ import annotations

from syncwatch.attribute.causes.base import Cause

_ALLOCATOR = "https://docs.pytorch.org/docs/stable/notes/cuda.html#memory-management"

DEVICE_MEMORY = Cause(
    code="SW601",
    title="the allocator goes to the driver for GPU memory",
    hint="allocate the largest shapes in warm-up, keep buffers, or set `expandable_segments:True` so that it need not.",
    what_it_does="The caching allocator found no free block and called `cudaMalloc`; or it gave blocks back with "
    "`cudaFree`, after `torch.cuda.empty_cache()` or for want of memory.",
    why_it_waits="`cudaFree` waits for all work on the device; `cudaMalloc` takes up to milliseconds in the driver.",
    example="out = torch.empty(largest_so_far, device=device)",
    use_instead="buffer = torch.empty(largest_there_will_be, device=device)  # once\nout = buffer[:size]",
    references=(_ALLOCATOR, "https://docs.nvidia.com/cuda/cuda-runtime-api/api-sync-behavior.html"),
)

PINNED_MEMORY = Cause(
    code="SW602",
    title="pinned host memory is allocated in the step",
    hint="pin once and reuse the buffer; a DataLoader with `pin_memory=True` pins in a thread of its own.",
    what_it_does="`pin_memory()` or `pin_memory=True` where the pinned cache had no block: `cudaHostAlloc`.",
    why_it_waits="The driver locks pages one by one, about a millisecond for a few megabytes, and freeing them waits "
    "for the device.",
    example='batch = batch.pin_memory().to("cuda", non_blocking=True)',
    use_instead="staging.copy_(batch)  # staging = torch.empty(..., pin_memory=True), made once\n"
    'batch = staging.to("cuda", non_blocking=True)',
    references=(_ALLOCATOR, "https://docs.pytorch.org/tutorials/intermediate/pinmem_nonblock.html"),
)
