"""Causes beside reads, sizes and copies: waits that were asked for, and those of libraries and of memory (SW401 on)."""

from __future__ import annotations

from syncwatch.attribute.causes.base import Cause

_CUDA_SEMANTICS = "https://docs.pytorch.org/docs/stable/notes/cuda.html#asynchronous-execution"

DEVICE = Cause(
    code="SW401",
    title="the host waits for the whole device",
    hint="leave it out of the step; to order work use events and streams, to time it use CUDA events.",
    what_it_does="`torch.cuda.synchronize()` or `torch.accelerator.synchronize()`.",
    why_it_waits="It was asked to: every stream of the device has to run empty.",
    example="torch.cuda.synchronize()\nstart = time.perf_counter()",
    use_instead="start = torch.cuda.Event(enable_timing=True)\nstart.record()",
    references=(_CUDA_SEMANTICS,),
    explicit=True,
)

STREAM = Cause(
    code="SW402",
    title="the host waits for a stream",
    hint="let the other stream wait instead (`wait_stream`), so that the host goes on.",
    what_it_does="`Stream.synchronize()`.",
    why_it_waits="It was asked to: everything queued on that stream has to finish.",
    example="side.synchronize()",
    use_instead="torch.cuda.current_stream().wait_stream(side)",
    references=("https://docs.pytorch.org/docs/stable/generated/torch.cuda.Stream.html", _CUDA_SEMANTICS),
    explicit=True,
)

EVENT = Cause(
    code="SW403",
    title="the host waits for an event",
    hint="wait a step later, when the event has passed; `event.query()` tells without waiting.",
    what_it_does="`Event.synchronize()`.",
    why_it_waits="It was asked to: everything queued before the event was recorded has to finish.",
    example="copied.record()\ncopied.synchronize()",
    use_instead="copied.record()\nnext_step()  # launches its work\ncopied.synchronize()  # it has passed",
    references=("https://docs.pytorch.org/docs/stable/generated/torch.cuda.Event.html",),
    explicit=True,
)


LINEAR_ALGEBRA = Cause(
    code="SW501",
    title="linear algebra checks its result on the host",
    hint="use the `_ex` variant with `check_errors=False`, and look at `info` later, on the GPU.",
    what_it_does="`torch.linalg.*` calls such as `cholesky`, `inv`, `eigh`, `lstsq`: the solver's status is read back.",
    why_it_waits="To raise an error for a singular matrix, the host has to read the status behind the solver; some "
    "solvers wait inside.",
    example="chol = torch.linalg.cholesky(a)",
    use_instead="chol, info = torch.linalg.cholesky_ex(a)",
    references=("https://docs.pytorch.org/docs/stable/generated/torch.linalg.cholesky_ex.html",),
)

UNDER_TORCH = Cause(
    code="SW502",
    title="a library under torch waits",
    hint="look at the calls below this line: a C++ extension, an allocation, or a vendor library.",
    what_it_does="A wait that torch's own hooks did not announce, or one for a whole device or an event that no "
    "Python line asked for.",
    why_it_waits="The library calls the CUDA runtime by itself; the line is the innermost Python line that led there.",
    example="out = my_extension.forward(x)",
    use_instead="# ask the library for an asynchronous call, or give it a workspace to reuse",
    references=("https://docs.nvidia.com/cuda/cuda-runtime-api/api-sync-behavior.html",),
)


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


UNCLASSIFIED = Cause(
    code="SW900",
    title="the host waits, and no rule says why",
    hint="the line is right; please report it with the operator, so that the next version can name the cause.",
    what_it_does="A synchronization that was seen, but fits none of the known causes.",
    why_it_waits="Unknown. It is counted and priced like any other.",
    example="unknown_op(x)",
    use_instead="# split the line, and see which part of it waits",
)
