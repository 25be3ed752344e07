"""Wrong arguments are refused with a sentence that names them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from syncwatch_kernels.gdn import causal_conv1d, chunk_gated_delta_rule, gated_rms_norm, gating, l2norm

from tests.helpers.kernel_fixtures import Problem, make_problem

PROBLEM = make_problem([8], (2, 4), 16, with_state=True)
STATE = PROBLEM.initial_state
assert STATE is not None


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (replace(PROBLEM, k=PROBLEM.k.float()), "k must be torch.bfloat16, but is torch.float32"),
        (replace(PROBLEM, q=PROBLEM.q.half()), "k must be torch.float16, but is torch.bfloat16"),
        (replace(PROBLEM, v=PROBLEM.v.half()), "v must be torch.bfloat16, but is torch.float16"),
        (replace(PROBLEM, g=PROBLEM.g.bfloat16()), "g must be torch.float32, but is torch.bfloat16"),
        (replace(PROBLEM, v=PROBLEM.v[:, :, :3], g=PROBLEM.g[..., :3].contiguous()), "3 and 2"),
        (replace(PROBLEM, beta=PROBLEM.beta[:, :7]), r"beta must have shape \(1, 8, 4\), but has \(1, 7, 4\)"),
        (replace(PROBLEM, v=PROBLEM.v[:, :7]), "v must have shape"),
        (replace(PROBLEM, q=PROBLEM.q.float()), "q must be torch.bfloat16 or torch.float16, but is torch.float32"),
        (replace(PROBLEM, q=PROBLEM.q[0], k=PROBLEM.k[0]), "k must have 4 dimensions"),
        (replace(PROBLEM, k=PROBLEM.k[:, :7]), "k must have shape"),
        (
            replace(PROBLEM, q=PROBLEM.q.repeat(2, 1, 1, 1), k=PROBLEM.k.repeat(2, 1, 1, 1)),
            "a batch size of 1",
        ),
        (replace(PROBLEM, q=PROBLEM.q[..., :10], k=PROBLEM.k[..., :10]), "The head size of k must be one of"),
        (replace(PROBLEM, k=PROBLEM.k.transpose(1, 2).contiguous().transpose(1, 2)), "k must hold each token's values"),
        (replace(PROBLEM, initial_state=STATE.double()), "initial_state must be torch.float32"),
        (replace(PROBLEM, initial_state=STATE[:, :2]), "initial_state must have shape"),
        (replace(PROBLEM, beta=PROBLEM.beta.to("meta")), "beta is on meta, but k is on cpu"),
        (replace(PROBLEM, cu_seqlens_cpu=torch.tensor([0, 8])), "cu_seqlens must be torch.int32"),
    ],
)
def test_the_chain_refuses(problem: Problem, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        chunk_gated_delta_rule(*problem.tensors, problem.cu_seqlens, problem.initial_state)


def test_wrong_metadata_is_refused() -> None:
    indices, offsets = torch.zeros(1, 2, dtype=torch.int32), torch.zeros(2, dtype=torch.int32)
    for wrong in (
        (indices.long(), offsets),
        (indices[:, :1], offsets),
        (indices, offsets.long()),
        (indices, offsets[:1]),
    ):
        with pytest.raises(ValueError, match=r"^chunk_(indices|offsets) must "):
            chunk_gated_delta_rule(*PROBLEM.tensors, PROBLEM.cu_seqlens, chunk_indices=wrong[0], chunk_offsets=wrong[1])


def test_the_other_ops_refuse() -> None:
    x = torch.zeros(4, 16, dtype=torch.bfloat16)
    cu_seqlens = torch.tensor([0, 4], dtype=torch.int32)
    with pytest.raises(ValueError, match=r"weight must have shape \(16, 4\)"):
        causal_conv1d(x, torch.zeros(16, 3, dtype=torch.bfloat16), cu_seqlens)
    with pytest.raises(ValueError, match=r"initial_state must have shape \(1, 3, 16\)"):
        causal_conv1d(x, torch.zeros(16, 4, dtype=torch.bfloat16), cu_seqlens, torch.zeros(1, 16, 4))
    with pytest.raises(ValueError, match=r"a_log must have shape \(16,\)"):
        gating(x, x, torch.zeros(4), torch.zeros(16))
    with pytest.raises(ValueError, match="x must be"):
        l2norm(torch.zeros(1, 4, 1, 16))
    with pytest.raises(ValueError, match="z must have shape"):
        gated_rms_norm(x.view(4, 1, 16), x.view(2, 2, 16), torch.zeros(16))
