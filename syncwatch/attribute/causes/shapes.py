"""Causes where an output whose size depends on the data waits (SW201 to SW209)."""

from __future__ import annotations

from syncwatch.attribute.causes.base import Cause

_SYNC_TEST = "https://github.com/pytorch/pytorch/blob/main/test/test_cuda.py"
_ISSUE = "https://github.com/pytorch/pytorch/issues/12461"
_SIZE = (
    "The size of the output has to be known before memory can be allocated, so the host reads a count back behind "
    "the queue."
)

MASK_LOAD = Cause(
    code="SW201",
    title="a tensor is indexed with a GPU mask",
    hint="use a mask on the CPU, `torch.where`, or indices computed once from the host's own copy.",
    what_it_does="`x[mask]` with a boolean mask on the GPU: a `nonzero`, then a gather.",
    why_it_waits=_SIZE,
    example="spec = tokens[is_spec]  # is_spec on the GPU",
    use_instead="spec = tokens[is_spec_cpu]  # from torch 2.9 a CPU mask does not wait",
    references=("https://github.com/pytorch/pytorch/pull/156384", "https://github.com/vllm-project/vllm/pull/38047"),
)

NONZERO = Cause(
    code="SW202",
    title="`nonzero` must know how many there are",
    hint="use `torch.nonzero_static(x, size=n)`, the three-argument `torch.where`, or compute it on the CPU.",
    what_it_does="`nonzero`, `argwhere` and `where` with one argument return as many rows as there are non-zero "
    "elements.",
    why_it_waits=_SIZE,
    example="rows = mask.nonzero()",
    use_instead="rows = torch.nonzero_static(mask, size=n)  # n known on the host",
    references=("https://docs.pytorch.org/docs/stable/generated/torch.nonzero.html", _SYNC_TEST),
)

MASKED_SELECT = Cause(
    code="SW203",
    title="`masked_select` must know how many are selected",
    hint="keep the full shape with `torch.where`, or select with indices that the host knows.",
    what_it_does="`torch.masked_select` packs the selected elements into a tensor of their number.",
    why_it_waits=_SIZE,
    example="kept = torch.masked_select(x, mask)",
    use_instead="kept = torch.where(mask, x, 0.0)",
    references=("https://docs.pytorch.org/docs/stable/generated/torch.masked_select.html",),
)

REPEAT_INTERLEAVE = Cause(
    code="SW204",
    title="`repeat_interleave` must sum the repeats",
    hint="pass `output_size=`; the host usually knows the total.",
    what_it_does="`repeat_interleave` with repeats on the GPU returns as many rows as the repeats sum to.",
    why_it_waits=_SIZE,
    example="owner = torch.repeat_interleave(ids, lengths)",
    use_instead="owner = torch.repeat_interleave(ids, lengths, output_size=total)",
    references=(
        "https://docs.pytorch.org/docs/stable/generated/torch.repeat_interleave.html",
        "https://github.com/vllm-project/vllm/pull/38047",
    ),
)

UNIQUE = Cause(
    code="SW205",
    title="`unique` must know how many distinct values there are",
    hint="find distinct values on the CPU copy, or count with a fixed number of bins.",
    what_it_does="`unique` and `unique_consecutive` return as many rows as there are distinct values.",
    why_it_waits=_SIZE,
    example="experts = torch.unique(expert_ids)",
    use_instead="counts = torch.zeros(n, device=ids.device, dtype=ids.dtype).scatter_add_(0, ids, "
    "torch.ones_like(ids))",
    references=("https://docs.pytorch.org/docs/stable/generated/torch.unique.html",),
)

ONE_HOT = Cause(
    code="SW206",
    title="`one_hot` looks for the largest class",
    hint="pass `num_classes=`.",
    what_it_does="`one_hot` without `num_classes` reads the largest class from the GPU; it reads the smallest to "
    "check it.",
    why_it_waits="The width of the output is the largest value plus one, and the host has to read it behind the queue.",
    example="F.one_hot(labels)",
    use_instead="F.one_hot(labels, num_classes=10)",
    references=("https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.one_hot.html",),
)

DATA_DEPENDENT_SIZE = Cause(
    code="SW207",
    title="the size of the output depends on values on the GPU",
    hint="give the size, the range or the boundaries as Python numbers.",
    what_it_does="`bincount`, `histc` without a range, `combinations`, `tensor_split` by a GPU tensor, and their like.",
    why_it_waits="The host reads a size, a minimum or a maximum back behind the queue before it can launch the rest.",
    example="counts = torch.bincount(ids)",
    use_instead="counts = torch.zeros(n, device=ids.device, dtype=ids.dtype).scatter_add_(0, ids, "
    "torch.ones_like(ids))",
    references=("https://docs.pytorch.org/docs/stable/generated/torch.bincount.html", _ISSUE),
)

MASK_STORE = Cause(
    code="SW208",
    title="a tensor is assigned through a GPU mask",
    hint="use `torch.where`, `masked_fill_` for a number, or indices that the host knows.",
    what_it_does="`x[mask] = values` with a boolean mask on the GPU and a tensor of values: a `nonzero`, then a "
    "scatter.",
    why_it_waits=_SIZE,
    example="x[mask] = y",
    use_instead="x = torch.where(mask, full_y, x)  # `x[mask] = 0.0` does not wait",
    references=(_SYNC_TEST,),
)

SAMPLING = Cause(
    code="SW209",
    title="a distribution checks its arguments",
    hint="pass `validate_args=False`, or sample with `torch.multinomial` or the Gumbel trick on the GPU.",
    what_it_does="`torch.distributions` asserts that every parameter is valid before it samples; some samplers "
    "check as well.",
    why_it_waits="The assertion is a Python branch on a GPU tensor, so a truth value is read back behind the queue.",
    example="Categorical(probs=p).sample()",
    use_instead="Categorical(probs=p, validate_args=False).sample()",
    references=("https://docs.pytorch.org/docs/stable/distributions.html",),
)
