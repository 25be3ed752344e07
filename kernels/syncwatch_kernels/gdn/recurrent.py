"""The gated delta rule of a decode step: updates the states of many requests in place, in their pool."""

# Axis and block sizes keep the capitals of the mathematics.
# ruff: noqa: N803

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from syncwatch_kernels.gdn.decode_rows import accepted_offset, first_token, is_slot, require_rows
from syncwatch_kernels.gdn.numerics import (
    INTERPRETED,
    L2_NORM_EPS,
    device_function,
    kernel,
    loop_bound,
    narrow,
    sum_over,
)
from syncwatch_kernels.gdn.validate import (
    FLOATING,
    require_dense_tokens,
    require_dims,
    require_dtype,
    require_grouped_heads,
    require_head_dim,
    require_same_device,
    require_shape,
)

_EARLY_PROGRAMS = 4096
"""Grids of this size or larger let the next kernel start early (programmatic dependent launch, CUDA Programming Guide).

On an H200 a step of 8,192 programs took 19.6 us instead of 20.4, and one of 4,096 took 10.8 us instead of 11.3. One of
2,048 took 7.4 us instead of 6.6: there the waiting programs of the next kernel take the room that the step's own need.
"""
_EARLY_CAPABILITY = 9
"""The first compute capability with programmatic dependent launch, Hopper's."""


@dataclass(frozen=True, slots=True)
class Blocking:
    """How the work is split into programs; it changes the speed, not the result."""

    values: int
    """Rows of one head's state, [V, K], in one program."""
    warps: int


@device_function
def _exp(x: tl.tensor) -> tl.tensor:
    """Return exp(x), right up to the last bit but one: the state is multiplied with any error again at every step."""
    if INTERPRETED:
        return tl.exp(x)
    else:
        return libdevice.exp(x)


@device_function
def _unit(b_x: tl.tensor, eps: tl.tensor) -> tl.tensor:
    return b_x * tl.div_rn(1.0, tl.sqrt_rn(sum_over(b_x * b_x, 0) + eps))


@device_function
def _token(
    b_h: tl.tensor, q: tl.tensor, k: tl.tensor, v: tl.tensor, g: tl.tensor, beta: tl.tensor, t: tl.tensor,
    i_h: tl.tensor, o_k: tl.tensor, o_v: tl.tensor, scale: tl.tensor, eps: tl.tensor, stride_q: tl.tensor,
    stride_k: tl.tensor, stride_v: tl.tensor, Hk: tl.constexpr, Hv: tl.constexpr, K: tl.constexpr, V: tl.constexpr,
    L2NORM: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:  # fmt: skip
    """Return the state after token `t`, [BV, K], and what its query reads, [BV]."""
    i_hk = i_h // (Hv // Hk)
    b_k = tl.load(k + t * stride_k + i_hk * K + o_k).to(tl.float32)  # [K]
    b_q = tl.load(q + t * stride_q + i_hk * K + o_k).to(tl.float32)  # [K]
    b_v = tl.load(v + t * stride_v + i_h * V + o_v).to(tl.float32)  # [BV]
    b_decay = _exp(tl.load(g + t * Hv + i_h))
    b_beta = tl.load(beta + t * Hv + i_h)
    if L2NORM:
        b_k = _unit(b_k, eps)
        b_q = _unit(b_q, eps)
    b_h = b_h * b_decay
    b_v = (b_v - sum_over(b_h * b_k[None, :], 1)) * b_beta
    b_h = b_h + b_v[:, None] * b_k[None, :]
    return b_h, sum_over(b_h * b_q[None, :], 1) * scale


@kernel(lengths=("N", "T", "pool"), index_pointers=("slots", "cu_seqlens", "num_accepted_tokens"))
def recurrent_decode_kernel(
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    g: tl.tensor,
    beta: tl.tensor,
    o: tl.tensor,
    states: tl.tensor,
    slots: tl.tensor,
    cu_seqlens: tl.tensor,
    num_accepted_tokens: tl.tensor,
    scale: tl.tensor,
    eps: tl.tensor,
    stride_q: tl.tensor,
    stride_k: tl.tensor,
    stride_v: tl.tensor,
    stride_state: tl.tensor,
    stride_slots: tl.tensor,
    N: tl.tensor,
    T: tl.tensor,
    pool: tl.tensor,
    COLUMNS: tl.constexpr,
    Hk: tl.constexpr,
    Hv: tl.constexpr,
    K: tl.constexpr,
    V: tl.constexpr,
    BV: tl.constexpr,
    L2NORM: tl.constexpr,
    EARLY: tl.constexpr,
) -> None:
    """Carry `BV` rows of the state of one request and one value head through the request's tokens."""
    if EARLY:
        gdc_launch_dependents()
        gdc_wait()  # until what the kernel before this one wrote can be read
    # A single grid axis: N * Hv reaches 65536 at 1024 requests and 64 heads, and the other axes end at 65535.
    i_p = tl.program_id(0)
    i_v = i_p % (V // BV)
    i_h = (i_p // (V // BV)) % Hv
    i_n = (i_p // (V // BV * Hv)).to(tl.int64)
    o_k = tl.arange(0, K)
    o_v = i_v * BV + tl.arange(0, BV)
    p_o = o + i_h * V + o_v
    p_state = i_h * (V * K) + o_v[:, None] * K + o_k[None, :]

    bos = first_token(cu_seqlens, i_n)
    eos = first_token(cu_seqlens, i_n + 1)
    p_slot = slots + i_n * stride_slots
    if num_accepted_tokens is not None:
        slot = tl.load(p_slot + accepted_offset(num_accepted_tokens, i_n, COLUMNS)).to(tl.int64)
        end = tl.minimum(eos, bos + COLUMNS)
    else:
        slot = tl.load(p_slot).to(tl.int64)
        end = eos
    runs = is_slot(slot, pool) & (end > bos)
    end = tl.where(runs, end, bos)
    b_h = tl.load(states + slot * stride_state + p_state, mask=runs, other=0.0)  # [BV, K]

    for t in range(loop_bound(bos), loop_bound(end)):
        b_h, b_o = _token(
            b_h, q, k, v, g, beta, t, i_h, o_k, o_v, scale, eps, stride_q, stride_k, stride_v, Hk, Hv, K, V, L2NORM
        )
        tl.store(p_o + t * (Hv * V), narrow(b_o, o.dtype.element_ty))
        if num_accepted_tokens is not None:
            target = tl.load(p_slot + (t - bos)).to(tl.int64)
            tl.store(states + target * stride_state + p_state, b_h, mask=is_slot(target, pool))
    if num_accepted_tokens is None:
        tl.store(states + slot * stride_state + p_state, b_h, mask=runs)

    b_zero = tl.full((BV,), 0.0, dtype=o.dtype.element_ty)
    for t in range(loop_bound(end), loop_bound(eos)):
        tl.store(p_o + t * (Hv * V), b_zero)
    if cu_seqlens is not None:
        # Tokens past the last row's end, as in a captured batch that is not full, are zeroed by all rows in turn.
        for t in range(loop_bound(tl.load(cu_seqlens + N).to(tl.int64) + i_n), loop_bound(T), loop_bound(N)):
            tl.store(p_o + t * (Hv * V), b_zero)


def choose_blocking(value_size: int) -> Blocking:
    """Return how the work is split into programs; `benchmarks/gdn_decode.py --tune` compares the possible splits.

    One warp needs no barrier for its sums, and small blocks spread a single request over the card.
    """
    return Blocking(values=min(8, value_size), warps=1)


def _recurrent_decode(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor, beta: torch.Tensor, states: torch.Tensor,
    slots: torch.Tensor, cu_seqlens: torch.Tensor | None, num_accepted_tokens: torch.Tensor | None, scale: float,
    l2norm: bool, blocking: Blocking,
) -> torch.Tensor:  # fmt: skip
    _, tokens, value_heads, value_size = v.shape
    o = torch.empty(v.shape, dtype=v.dtype, device=v.device)
    rows = slots.shape[0]
    programs = triton.cdiv(value_size, blocking.values) * value_heads * rows
    early = programs >= _EARLY_PROGRAMS and _launches_early(v.device)
    recurrent_decode_kernel[(programs,)](
        q, k, v, g, beta, o, states, slots, cu_seqlens, num_accepted_tokens, scale, L2_NORM_EPS,
        q.stride(1), k.stride(1), v.stride(1), states.stride(0), slots.stride(0), rows, tokens, states.shape[0],
        COLUMNS=1 if slots.dim() == 1 else slots.shape[1], Hk=k.shape[2], Hv=value_heads, K=k.shape[3], V=value_size,
        BV=blocking.values, L2NORM=l2norm, EARLY=early, num_warps=blocking.warps,
        **({"launch_pdl": True} if early else {}),
    )  # fmt: skip
    return o


@functools.cache
def _launches_early(device: torch.device) -> bool:
    return not INTERPRETED and torch.cuda.get_device_capability(device)[0] >= _EARLY_CAPABILITY


def recurrent_gated_delta_rule_decode(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    states: torch.Tensor,
    slots: torch.Tensor,
    cu_seqlens: torch.Tensor | None = None,
    num_accepted_tokens: torch.Tensor | None = None,
    scale: float | None = None,
    l2norm: bool = True,
) -> torch.Tensor:
    """Apply the gated delta rule token by token to the states of a pool, in place. The host never waits.

    Plain form, `slots` [N]: row n begins with the state in its slot and leaves its last state there.

    Speculative form, `slots` [N, S + 1] and `num_accepted_tokens`, for S drafts: row n begins with the state in column
    num_accepted_tokens[n] - 1, which the last step left there, and the state after its token t goes to column t. So a
    rejected draft costs nothing but an index. A count below 1 means column 0, one above S + 1 column S. A row without
    drafts takes part with one token, and its next count is 1. Tokens past the S + 1 of the window are not computed;
    their outputs are zero.

    A slot outside 1 .. slots - 1 (0: null block; -1: padding) is no slot. A row that would begin there is skipped and
    its outputs are zero; a state that would go there is dropped. No two rows may share a slot.

    Args:
        q: [1, T, Hk, K], bfloat16, float16 or float32; K one of 16, 32, 64, 128; tokens may be any stride apart.
        k: as `q`.
        v: [1, T, Hv, V], dtype of `q`; Hv a multiple of Hk, V one of 16, 32, 64, 128. Value head h reads key head
            h // (Hv / Hk).
        g: float32 [1, T, Hv], contiguous; natural logarithm of each token's decay, not positive.
        beta: float32 [1, T, Hv], contiguous; write strength, 0 to 1.
        states: float32 [slots, Hv, V, K], written to; slots may be any stride apart.
        slots: int32 [N] or [N, S + 1]; rows may be any stride apart.
        cu_seqlens: int32 [N + 1], prefix sum of the rows' tokens; zero lengths are allowed, and the outputs of tokens
            past the last are zero. Where None, each row has one token, and T is N.
        num_accepted_tokens: int32 [N]: how many tokens of the last step were accepted, the first included.
        scale: multiplies the queries; K ** -0.5 where None.
        l2norm: whether queries and keys are brought to unit length first; if not, they must be already.

    Returns:
        The output, contiguous [1, T, Hv, V], in the dtype of `v`. All arithmetic is in float32.
        Source: Gated DeltaNet, arXiv 2412.06464, equation 10.

    Raises:
        ValueError: if a shape, dtype, device or head ratio does not fit.
    """
    _require(q, k, v, g, beta, states)
    require_rows(v.shape[1], slots, cu_seqlens, num_accepted_tokens)
    _require_form(slots, num_accepted_tokens)
    require_same_device(v=v, slots=slots)
    if slots.shape[0] == 0:
        return torch.empty(v.shape, dtype=v.dtype, device=v.device)
    scale = k.shape[3] ** -0.5 if scale is None else scale
    blocking = choose_blocking(v.shape[3])
    return _recurrent_decode(
        q, k, v, g, beta, states, slots, cu_seqlens, num_accepted_tokens, scale, l2norm, blocking
    )  # fmt: skip


def _require(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor, beta: torch.Tensor, states: torch.Tensor
) -> None:
    require_dims("k", k, 4, packed=True)
    require_dims("v", v, 4, packed=True)
    require_head_dim("k", k.shape[3])
    require_head_dim("v", v.shape[3])
    require_grouped_heads(k.shape[2], v.shape[2])
    require_shape("q", q, k.shape)
    require_shape("v", v, (1, k.shape[1], *v.shape[2:]))
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        require_dtype(name, tensor, FLOATING if tensor is q else (q.dtype,))
        require_dense_tokens(name, tensor, token_dim=1)
    for name, tensor in (("g", g), ("beta", beta)):
        require_shape(name, tensor, v.shape[:3])
        require_dtype(name, tensor, (torch.float32,))
        require_dense_tokens(name, tensor, token_dim=0)
    require_dims("states", states, 4)
    require_shape("states", states, (states.shape[0], v.shape[2], v.shape[3], k.shape[3]))
    require_dtype("states", states, (torch.float32,))
    require_dense_tokens("states", states, token_dim=0)
    require_same_device(q=q, k=k, v=v, g=g, beta=beta, states=states)


def _require_form(slots: torch.Tensor, num_accepted_tokens: torch.Tensor | None) -> None:
    if slots.dim() not in (1, 2) or (slots.dim() == 2) != (num_accepted_tokens is not None):
        raise ValueError(
            "slots must have shape (rows,) without num_accepted_tokens, or (rows, drafts + 1) with them, "
            f"but has {tuple(slots.shape)}."
        )
    if slots.dim() == 2:
        require_dense_tokens("slots", slots, token_dim=0)
