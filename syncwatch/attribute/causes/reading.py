"""Causes where reading a value on the host waits (SW101 to SW105)."""

from __future__ import annotations

from syncwatch.attribute.causes.base import Cause

_DEBUG_MODE = "https://docs.pytorch.org/docs/stable/generated/torch.cuda.set_sync_debug_mode.html"
_TUNING = (
    "https://docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html#avoid-unnecessary-cpu-gpu-synchronization"
)

SCALAR_READ = Cause(
    code="SW101",
    title="a scalar is read from the GPU",
    hint="keep the value on the GPU (`torch.where`, tensor arithmetic), or read it one step late from pinned memory.",
    what_it_does="`.item()`, `float(t)`, `int(t)`, or an operator that takes a Python number from a GPU tensor.",
    why_it_waits="The number exists only after every kernel queued before it has run, so the host waits for all of "
    "them, "
    "then for a copy of a few bytes.",
    example="total += loss.item()",
    use_instead="total += loss.detach()  # add on the GPU, read once at the end",
    references=(_TUNING, _DEBUG_MODE),
)

LIST_READ = Cause(
    code="SW102",
    title="a GPU tensor is read into a Python list",
    hint="build the list from the CPU copy that the sizes came from, and hand both to the op.",
    what_it_does="`.tolist()` copies a whole GPU tensor to the host and makes Python numbers of it.",
    why_it_waits="The copy lands in pageable memory, and Python needs the bytes at once: the host waits for "
    "everything queued.",
    example="lengths = cu_seqlens.diff().tolist()",
    use_instead="lengths = cu_seqlens_cpu.diff().tolist()  # the host made these numbers; keep them there",
    references=("https://github.com/vllm-project/vllm/pull/38361", _TUNING),
)

TRUTH_VALUE = Cause(
    code="SW103",
    title="Python branches on the value of a GPU tensor",
    hint="decide on the GPU with `torch.where` or a mask, or branch on something the host already knows.",
    what_it_does="`if t:`, `while t > 0:`, `assert t.all()`, `bool(t)`, `torch.equal`, `x in t`: a truth value of a "
    "GPU tensor.",
    why_it_waits="Python cannot go on before it knows which branch to take, so one byte is read back behind the "
    "whole queue.",
    example="if torch.isnan(loss).any():\n    loss = torch.zeros_like(loss)",
    use_instead="loss = torch.where(torch.isnan(loss).any(), 0.0, loss)",
    references=(_TUNING,),
)

BLOCKING_READ = Cause(
    code="SW104",
    title="a tensor is copied to the CPU, and the host waits for it",
    hint="copy into pinned memory with `non_blocking=True`, record an event, and read it when the event has passed.",
    what_it_does='`.cpu()`, `.to("cpu")`, `.numpy()` or `cpu_tensor.copy_(gpu_tensor)`.',
    why_it_waits="A copy to pageable host memory returns when the bytes are there, which is after everything queued "
    "before it.",
    example="logits = logits.cpu()",
    use_instead="pinned.copy_(logits, non_blocking=True)\ndone.record()\nnext_step()  # launches its "
    "work\ndone.synchronize()  # it has passed",
    references=("https://docs.pytorch.org/tutorials/intermediate/pinmem_nonblock.html", _TUNING),
)

PRINTING = Cause(
    code="SW105",
    title="a GPU tensor is printed or put into a string",
    hint="print what the host already knows, or collect the tensor and print it after the loop.",
    what_it_does="`print(t)`, an f-string, logging or an error message formats the values of a GPU tensor.",
    why_it_waits="The digits are made on the host: the values are copied back, often in several pieces, each behind "
    "the queue.",
    example='log.info(f"loss {loss}")',
    use_instead="losses.append(loss.detach())  # log after the epoch",
    references=(_TUNING,),
)
