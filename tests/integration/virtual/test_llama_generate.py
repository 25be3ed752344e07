"""On the virtual device, a tiny Llama's `generate` waits in the lines of transformers that wait on a GPU.

The same script was run on an H200 (torch 2.11, transformers 5.17) and waited at the same lines as often. Lines are
found by their source text, so that a patch release which shifts them does not fail the test.
"""

from __future__ import annotations

import runpy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncwatch.model.session import Recording
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice
from tests.helpers.waits import waits_of

pytest.importorskip("transformers", minversion="5.10")

GREEDY = """
import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=128, pad_token_id=0, eos_token_id=255,
)
model = LlamaForCausalLM(config).to("cuda").eval()
prompt = torch.randint(1, 250, (2, 12), device="cuda")
tokens = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, {options})
assert tokens.is_cuda
"""
STEPS = 8
PARAMETERS_AND_BUFFERS = 23
ONCE = {
    "return super().to(*args, **kwargs)": PARAMETERS_AND_BUFFERS,
    "return torch.tensor(token, device=device, dtype=torch.long)": 3,
    "if eos_token_tensor is not None and torch.isin(eos_token_tensor, pad_token_tensor).any():": 1,
    "has_right_padding = torch.any(attention_mask[:, -1] == 0).item()": 1,
}
EACH_STEP = {
    "return bool(unfinished_sequences.max() == 0)": STEPS,
}


@pytest.fixture
def device() -> Iterator[VirtualDevice]:
    device = VirtualDevice()
    device.start()
    yield device
    device.stop()


def run(device: VirtualDevice, tmp_path: Path, options: str) -> Recording:
    script = tmp_path / "generate.py"
    script.write_text(GREEDY.replace("{options}", options), encoding="utf-8")
    recorder = Recorder(now_ns=device.now_ns)
    device.record_into(recorder)
    runpy.run_path(str(script))
    device.record_into(None)
    from syncwatch.model.session import Coverage

    return recorder.freeze("generate", Coverage(("virtual",), (), None, 0), modelled=True)


def sites(recording: Recording) -> Counter[str]:
    """Return the innermost lines outside of torch and syncwatch, with their counts."""
    found: Counter[str] = Counter()
    for sync in waits_of(recording):
        assert sync.stack is not None
        frames = [recording.frames[index] for index in recording.stacks[sync.stack]]
        user = next(frame for frame in frames if not frame.file.startswith(("torch/", "syncwatch/")))
        found[user.code] += 1
    return found


@pytest.mark.parametrize("options", ["do_sample=False", "do_sample=True, top_k=20, top_p=0.9, temperature=0.7"])
def test_generate_waits_where_a_gpu_does(device: VirtualDevice, tmp_path: Path, options: str) -> None:
    found = sites(run(device, tmp_path, options))

    for line, count in {**ONCE, **EACH_STEP}.items():
        assert found.pop(line) == count, line
    # What is left: the check of the end-of-text token, and the mask's early exit at every step; both are conditions
    # over several lines, of which Python versions name different ones.
    assert sum(found.values()) == 1 + STEPS, found


def test_a_second_run_waits_at_the_same_lines_and_takes_the_same_virtual_time(
    device: VirtualDevice, tmp_path: Path
) -> None:
    # The first run is left out: it takes memory from the driver, which the allocators then keep.
    _, first, second = (run(device, tmp_path, "do_sample=False") for _ in range(3))

    assert sites(first) == sites(second)
    assert duration(first) == duration(second)


def duration(recording: Recording) -> int:
    assert recording.kernels
    return recording.kernels[-1].end_ns - recording.kernels[0].start_ns
