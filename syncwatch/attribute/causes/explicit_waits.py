"""Causes where the user asked for the wait (SW401 to SW403)."""

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
