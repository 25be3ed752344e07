"""Normalises and gates the layer's output before its last projection."""

# Axis and block sizes keep the capitals of the mathematics.
# ruff: noqa: N803

from __future__ import annotations

import torch
import triton
import triton.language as tl

from syncwatch_kernels.gdn.constants import RMS_NORM_EPS
from syncwatch_kernels.gdn.launch import kernel
from syncwatch_kernels.gdn.numerics import narrow, sum_over
from syncwatch_kernels.gdn.validate import (
    FLOATING,
    LOW_PRECISION,
    require_dense_tokens,
    require_dims,
    require_dtype,
    require_head_dim,
    require_same_device,
    require_shape,
)

_BLOCK_TOKENS = 32


@kernel(lengths=("T",))
def gated_rms_norm_fwd_kernel(
    x: tl.tensor,
    z: tl.tensor,
    weight: tl.tensor,
    y: tl.tensor,
    eps: tl.tensor,
    stride_x: tl.tensor,
    stride_z: tl.tensor,
    T: tl.tensor,
    H: tl.constexpr,
    V: tl.constexpr,
    BT: tl.constexpr,
) -> None:
    """Normalise and gate `BT` tokens of one head."""
    i_h = tl.program_id(1)
    o_t = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    o_v = tl.arange(0, V)
    o_hv = i_h * V + o_v
    m_t = (o_t < T)[:, None]

    b_x = tl.load(x + o_t[:, None] * stride_x + o_hv[None, :], mask=m_t, other=0.0).to(tl.float32)  # [BT, V]
    b_z = tl.load(z + o_t[:, None] * stride_z + o_hv[None, :], mask=m_t, other=0.0).to(tl.float32)  # [BT, V]
    b_weight = tl.load(weight + o_v).to(tl.float32)  # [V]
    b_rms = tl.sqrt(sum_over(b_x * b_x, 1) / V + eps)  # [BT]
    b_y = b_x / b_rms[:, None] * b_weight[None, :] * (b_z / (1.0 + tl.exp(-b_z)))
    tl.store(y + o_t[:, None] * (H * V) + o_hv[None, :], narrow(b_y, y.dtype.element_ty), mask=m_t)


def _gated_rms_norm_fwd(x: torch.Tensor, z: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    tokens, heads, size = x.shape
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if tokens:
        gated_rms_norm_fwd_kernel[(triton.cdiv(tokens, _BLOCK_TOKENS), heads)](
            x, z, weight, y, eps, x.stride(0), z.stride(0), tokens,
            H=heads, V=size, BT=_BLOCK_TOKENS, num_warps=4,
        )  # fmt: skip
    return y


def gated_rms_norm(x: torch.Tensor, z: torch.Tensor, weight: torch.Tensor, eps: float = RMS_NORM_EPS) -> torch.Tensor:
    """Return x / rms(x) * weight * silu(z), the norm taken over the last dimension in float32.

    Args:
        x: [T, Hv, V], bfloat16 or float16, V one of 16, 32, 64, 128; tokens may be any stride apart.
        z: [T, Hv, V], dtype of `x`; tokens may be any stride apart.
        weight: [V], floating.
        eps: added to the mean square.

    Returns:
        Contiguous, shape and dtype of `x`. Source of the formula: the output gate of Gated DeltaNet, arXiv 2412.06464,
        section 3.4.

    Raises:
        ValueError: if a shape, dtype or device does not fit.
    """
    require_dims("x", x, 3)
    require_head_dim("x", x.shape[2])
    require_shape("z", z, x.shape)
    require_shape("weight", weight, x.shape[2:])
    require_dtype("x", x, LOW_PRECISION)
    require_dtype("z", z, (x.dtype,))
    require_dtype("weight", weight, FLOATING)
    require_dense_tokens("x", x, token_dim=0)
    require_dense_tokens("z", z, token_dim=0)
    require_dense_tokens("weight", weight, token_dim=-1)
    require_same_device(x=x, z=z, weight=weight)
    return _gated_rms_norm_fwd(x, z, weight, eps)
