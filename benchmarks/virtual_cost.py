"""Answers: what does being watched on the virtual device cost? Llama `generate`, plain CPU against virtual, in turn.

    python benchmarks/virtual_cost.py

Needs transformers (`pip install 'syncwatch[test]'`). The rounds alternate, and the medians are compared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import torch
import typer

from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice

TINY_VOCABULARY = 256
SIZES: dict[str, dict[str, int]] = {
    "hidden 64": {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "vocab_size": TINY_VOCABULARY},
    "hidden 1024": {"hidden_size": 1024},
    "hidden 1024, narrow": {"hidden_size": 1024, "intermediate_size": 2816, "vocab_size": TINY_VOCABULARY},
}
"""What is not named has the default of `LlamaConfig`; all have two layers and eight heads, two for keys."""


def main(rounds: Annotated[int, typer.Option(help="Rounds of each, in turn.")] = 7) -> None:
    """Print the medians and their ratio for each model."""
    typer.echo("| model | plain | virtual | ratio |\n|---|---|---|---|")
    for name, changes in SIZES.items():
        plain = _generator("cpu", changes)
        device = VirtualDevice()
        device.start(Recorder(now_ns=device.now_ns))
        try:
            virtual = _generator("cuda", changes)
        finally:
            device.stop()
        times: dict[str, list[float]] = {"plain": [], "virtual": []}
        for _ in range(rounds):
            times["plain"].append(_timed(plain))
            device.start(Recorder(now_ns=device.now_ns))
            try:
                times["virtual"].append(_timed(virtual))
            finally:
                device.stop()
        ours, theirs = statistics.median(times["virtual"]), statistics.median(times["plain"])
        typer.echo(f"| {name} | {theirs:.1f} ms | {ours:.1f} ms | {ours / theirs:.2f} |")


def _generator(device: str, changes: dict[str, int]) -> Callable[[], Any]:
    import transformers

    library: Any = transformers
    torch.manual_seed(0)
    settings = {"num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 2}
    config = library.LlamaConfig(pad_token_id=0, eos_token_id=255, **{**settings, **changes})
    model: Any = library.LlamaForCausalLM(config).to(device).eval()
    prompt = torch.randint(1, 250, (2, 32), device=device)
    mask = torch.ones_like(prompt)

    def generate() -> Any:
        return model.generate(prompt, attention_mask=mask, max_new_tokens=16, min_new_tokens=16, do_sample=False)

    generate()
    return generate


def _timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    typer.run(main)
