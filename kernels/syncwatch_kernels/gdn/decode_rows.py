"""The tokens of each row of a decode batch and the state that it begins with, for both decode kernels.

A row is one request. Its slot is an index into a pool of states. Slots outside 1 .. pool - 1 are no slots: 0 is the
null block of a block table, -1 the padding of a captured batch. A row without a slot is skipped: its state is neither
read nor written, and its outputs are zero.
"""

# Block sizes keep the capitals of the mathematics.
# ruff: noqa: N803

from __future__ import annotations

import torch
import triton.language as tl

from syncwatch_kernels.gdn.numerics import device_function
from syncwatch_kernels.gdn.validate import require_cu_seqlens, require_dtype, require_same_device, require_shape


@device_function
def first_token(cu_seqlens: tl.tensor, i_n: tl.tensor) -> tl.tensor:
    """Return the first token of row `i_n`; without `cu_seqlens` each row has one token."""
    if cu_seqlens is not None:
        return tl.load(cu_seqlens + i_n).to(tl.int64)
    else:
        return i_n


@device_function
def accepted_offset(num_accepted_tokens: tl.tensor, i_n: tl.tensor, COLUMNS: tl.constexpr) -> tl.tensor:
    """Return how many of the last step's tokens to keep besides the first, limited to 0 .. `COLUMNS` - 1.

    Without the limit the kernels would read wherever a wrong count points, as vLLM did
    (https://github.com/vllm-project/vllm/pull/50021).
    """
    b_count = tl.load(num_accepted_tokens + i_n).to(tl.int64)
    return tl.minimum(tl.maximum(b_count - 1, 0), COLUMNS - 1)


@device_function
def is_slot(slot: tl.tensor, pool: tl.tensor) -> tl.tensor:
    """Return whether `slot` lies in the pool and is not the null block."""
    return (slot > 0) & (slot < pool)


def require_rows(
    tokens: int,
    slots: torch.Tensor,
    cu_seqlens: torch.Tensor | None,
    num_accepted_tokens: torch.Tensor | None,
) -> None:
    """Refuse a batch whose tensors do not describe the same rows. Their values are not read.

    Args:
        tokens: T, the tokens of the batch.
        slots: int32 [N] or [N, S + 1]; rows may be any stride apart.
        cu_seqlens: int32 [N + 1]; where None, each row has one token.
        num_accepted_tokens: int32 [N], or None.

    Raises:
        ValueError: if a shape, dtype or device does not fit.
    """
    require_dtype("slots", slots, (torch.int32,))
    rows = slots.shape[0]
    if cu_seqlens is None and rows != tokens:
        raise ValueError(f"Without cu_seqlens each row has one token, but there are {rows} rows and {tokens} tokens.")
    if cu_seqlens is not None:
        require_cu_seqlens(cu_seqlens)
        require_shape("cu_seqlens", cu_seqlens, (rows + 1,))
    if num_accepted_tokens is not None:
        require_dtype("num_accepted_tokens", num_accepted_tokens, (torch.int32,))
        require_shape("num_accepted_tokens", num_accepted_tokens, (rows,))
    for name, tensor in (("cu_seqlens", cu_seqlens), ("num_accepted_tokens", num_accepted_tokens)):
        if tensor is not None and not tensor.is_contiguous():
            raise ValueError(f"{name} must be contiguous; call .contiguous() on it.")
    require_same_device(slots=slots, cu_seqlens=cu_seqlens, num_accepted_tokens=num_accepted_tokens)
