"""Causes where the wait happens inside a library (SW501, SW502)."""

from __future__ import annotations

from syncwatch.attribute.causes.base import Cause

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
