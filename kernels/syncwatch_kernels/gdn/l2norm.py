"""Brings queries and keys to unit length."""

# Axis and block sizes keep the capitals of the mathematics.
# ruff: noqa: N803

from __future__ import annotations

import torch
import triton
import triton.language as tl

from syncwatch_kernels.gdn.constants import L2_NORM_EPS
from syncwatch_kernels.gdn.launch import kernel
from syncwatch_kernels.gdn.numerics import narrow, sum_over
from syncwatch_kernels.gdn.validate import (
    LOW_PRECISION,
    require_dense_tokens,
    require_dims,
    require_dtype,
    require_head_dim,
)

_BLOCK_TOKENS = 32


@kernel(lengths=("T",))
def l2norm_fwd_kernel(
    x: tl.tensor,
    y: tl.tensor,
    eps: tl.tensor,
    stride_x: tl.tensor,
    T: tl.tensor,
    H: tl.constexpr,
    K: tl.constexpr,
    BT: tl.constexpr,
) -> None:
    """Normalise `BT` tokens of one head."""
    i_h = tl.program_id(1)
    o_t = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    o_k = i_h * K + tl.arange(0, K)
    m_t = (o_t < T)[:, None]

    b_x = tl.load(x + o_t[:, None] * stride_x + o_k[None, :], mask=m_t, other=0.0).to(tl.float32)  # [BT, K]
    b_norm = tl.sqrt(sum_over(b_x * b_x, 1) + eps)  # [BT]
    b_y = b_x / b_norm[:, None]
    tl.store(y + o_t[:, None] * (H * K) + o_k[None, :], narrow(b_y, y.dtype.element_ty), mask=m_t)


def _l2norm_fwd(x: torch.Tensor, eps: float) -> torch.Tensor:
    _, tokens, heads, size = x.shape
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if tokens:
        l2norm_fwd_kernel[(triton.cdiv(tokens, _BLOCK_TOKENS), heads)](
            x, y, eps, x.stride(1), tokens, H=heads, K=size, BT=_BLOCK_TOKENS, num_warps=4
        )
    return y


def l2norm(x: torch.Tensor, eps: float = L2_NORM_EPS) -> torch.Tensor:
    """Return x / sqrt(sum(x^2) + eps) over the last dimension.

    Args:
        x: [1, T, H, K], bfloat16 or float16, K one of 16, 32, 64, 128; tokens may be any stride apart.
        eps: added to the squared norm.

    Returns:
        Contiguous, shape and dtype of `x`; the sum is taken in float32. Normalised keys keep the delta rule's update a
        contraction: Gated DeltaNet, arXiv 2412.06464, section 3.3.

    Raises:
        ValueError: if the shape or dtype does not fit.
    """
    require_dims("x", x, 4, packed=True)
    require_head_dim("x", x.shape[3])
    require_dtype("x", x, LOW_PRECISION)
    require_dense_tokens("x", x, token_dim=1)
    return _l2norm_fwd(x, eps)
