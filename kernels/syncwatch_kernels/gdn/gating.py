"""Computes how strongly each token decays and writes the state."""

# Axis and block sizes keep the capitals of the mathematics.
# ruff: noqa: N803

from __future__ import annotations

import torch
import triton
import triton.language as tl

from syncwatch_kernels.gdn.numerics import kernel
from syncwatch_kernels.gdn.validate import (
    FLOATING,
    require_dense_tokens,
    require_dims,
    require_dtype,
    require_same_device,
    require_shape,
)

_BLOCK_TOKENS = 32


@kernel(lengths=("T",))
def gating_fwd_kernel(
    a: tl.tensor,
    b: tl.tensor,
    a_log: tl.tensor,
    dt_bias: tl.tensor,
    g: tl.tensor,
    beta: tl.tensor,
    stride_a: tl.tensor,
    stride_b: tl.tensor,
    T: tl.tensor,
    H: tl.constexpr,
    BT: tl.constexpr,
    BH: tl.constexpr,
) -> None:
    """Write g and beta of `BT` tokens, all heads."""
    o_t = tl.program_id(0).to(tl.int64) * BT + tl.arange(0, BT)
    o_h = tl.arange(0, BH)
    m_h = o_h < H
    m_th = (o_t < T)[:, None] & m_h[None, :]

    b_rate = tl.exp(tl.load(a_log + o_h, mask=m_h, other=0.0).to(tl.float32))
    b_bias = tl.load(dt_bias + o_h, mask=m_h, other=0.0).to(tl.float32)
    b_a = tl.load(a + o_t[:, None] * stride_a + o_h[None, :], mask=m_th, other=0.0).to(tl.float32)  # [BT, BH]
    b_b = tl.load(b + o_t[:, None] * stride_b + o_h[None, :], mask=m_th, other=0.0).to(tl.float32)  # [BT, BH]

    b_x = b_a + b_bias[None, :]
    # In float32, 1 + y drops the low bits of a small y. Multiplying by y / ((1 + y) - 1) puts back what was dropped.
    b_y = tl.exp(tl.minimum(b_x, 20.0))
    b_sum = 1.0 + b_y
    b_small = b_sum == 1.0
    b_log = tl.where(b_small, b_y, tl.log(b_sum) * (b_y / tl.where(b_small, 1.0, b_sum - 1.0)))
    b_g = -b_rate[None, :] * tl.where(b_x > 20.0, b_x, b_log)

    p_out = o_t[:, None] * H + o_h[None, :]
    tl.store(g + p_out, b_g, mask=m_th)
    tl.store(beta + p_out, 1.0 / (1.0 + tl.exp(-b_b)), mask=m_th)


def _gating_fwd(
    a: torch.Tensor, b: torch.Tensor, a_log: torch.Tensor, dt_bias: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    tokens, heads = a.shape
    g = torch.empty(tokens, heads, dtype=torch.float32, device=a.device)
    beta = torch.empty(tokens, heads, dtype=torch.float32, device=a.device)
    if tokens:
        gating_fwd_kernel[(triton.cdiv(tokens, _BLOCK_TOKENS),)](
            a, b, a_log, dt_bias, g, beta, a.stride(0), b.stride(0), tokens,
            H=heads, BT=_BLOCK_TOKENS, BH=triton.next_power_of_2(heads), num_warps=4,
        )  # fmt: skip
    return g, beta


def gating(
    a: torch.Tensor, b: torch.Tensor, a_log: torch.Tensor, dt_bias: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return g = -exp(a_log) softplus(a + dt_bias) and beta = sigmoid(b), computed in float32.

    Args:
        a: [T, Hv], bfloat16, float16 or float32; rows may be any stride apart.
        b: [T, Hv], as `a`.
        a_log: [Hv], floating; the natural logarithm of the decay rate per token.
        dt_bias: [Hv], floating.

    Returns:
        g, the natural logarithm of each token's decay, and beta, the write strength: float32 [T, Hv] each.
        Source of the formula: Gated DeltaNet, arXiv 2412.06464.

    Raises:
        ValueError: if a shape, dtype or device does not fit.
    """
    require_dims("a", a, 2)
    require_shape("b", b, a.shape)
    for name, tensor in (("a_log", a_log), ("dt_bias", dt_bias)):
        require_shape(name, tensor, a.shape[1:])
        require_dense_tokens(name, tensor, token_dim=-1)
    for name, tensor in (("a", a), ("b", b), ("a_log", a_log), ("dt_bias", dt_bias)):
        require_dtype(name, tensor, FLOATING)
    for name, tensor in (("a", a), ("b", b)):
        require_dense_tokens(name, tensor, token_dim=0)
    require_same_device(a=a, b=b, a_log=a_log, dt_bias=dt_bias)
    return _gating_fwd(a, b, a_log, dt_bias)
