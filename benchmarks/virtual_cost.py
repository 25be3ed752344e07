"""Measures what running on the virtual device costs: time against plain CPU, memory, and 10,000 steps.

    python benchmarks/virtual_cost.py OUT.json

Time: Llama `generate` on the plain CPU, in the first call on a fresh device, and in the calls that follow; the rounds
alternate. Medians are given with the middle half of the rounds, in CPU time, which other programs on the machine
disturb least. Memory: bytes for each operator and each wait while all of them are recorded. Steps: the resident memory
of a process that trains a small network on the device, after a tenth of the steps and at the end; ten steps of each
tenth are recorded. Needs transformers (`pip install 'syncwatch[test]'`).
"""

from __future__ import annotations

import gc
import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import msgspec
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
"""Changes to `LlamaConfig`'s defaults; all have two layers, two key heads, and eight heads unless named here."""
_FOLLOWING = 2
"""Calls that follow the first one of a fresh device in each round."""
_OPERATORS = 200_000
_WAITS = 100_000
_TRAINING = """
import gc
import sys
from pathlib import Path

import torch
from torch import nn

from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice

steps, every, watched = int(sys.argv[1]), int(sys.argv[1]) // 10, 10
device = VirtualDevice()
device.start()
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1)).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(steps):
    if step % every == 0:
        device.record_into(Recorder(now_ns=device.now_ns))
    loss = model(torch.randn(8, 16, device="cuda")).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    loss.item()
    if step % every == watched:
        device.record_into(None)
    if step + 1 in (every, steps):
        gc.collect()
        print(int(Path("/proc/self/statm").read_text().split()[1]) * 4096, torch.cuda.memory_allocated())
device.stop()
"""
"""Trains on the device, recording ten steps of each tenth; prints the bytes resident, and in use on the device."""


class Spread(msgspec.Struct, frozen=True):
    """Milliseconds of CPU time: the median, and the quartiles, between which the middle half of the rounds lies."""

    median: float
    low: float
    high: float


class Generate(msgspec.Struct, frozen=True):
    """The CPU time of `generate` for one model."""

    plain: Spread
    first: Spread
    """The first call on a fresh device."""
    following: Spread
    first_ratio: float
    following_ratio: float


class Steps(msgspec.Struct, frozen=True):
    """Bytes of a process in training: resident, and in use on the device; after a tenth of the steps and at the end."""

    steps: int
    at_a_tenth: int
    at_the_end: int
    on_device_at_a_tenth: int
    on_device_at_the_end: int


class Results(msgspec.Struct, frozen=True):
    """What the file holds."""

    date: str
    torch: str
    threads: int
    rounds: int
    generate: dict[str, Generate]
    bytes_an_operator: float
    bytes_a_wait: float
    """Bytes of a wait together with its operator, its kernel and its copy."""
    training: Steps


def main(
    output: Annotated[Path | None, typer.Argument(help="Where to write the results.")] = None,
    rounds: Annotated[int, typer.Option(min=3, help="Rounds of each, in turn.")] = 9,
    models: Annotated[
        list[str] | None, typer.Option("--model", help="Only this one; may be given more than once.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Training steps.")] = 10_000,
    threads: Annotated[int, typer.Option(help="Threads of torch; more than one spin while they wait.")] = 1,
) -> None:
    """Measure, print tables, and write the file."""
    torch.set_num_threads(threads)
    generate = {}
    typer.echo(
        "| model | plain | first call | following | ratio of the first | of the following |\n|---|---|---|---|---|---|"
    )
    for name in models or SIZES:
        one = generate[name] = _generate(SIZES[name], rounds)
        cells = (_shown(one.plain), _shown(one.first), _shown(one.following))
        typer.echo(f"| {name} | {' | '.join(cells)} | {one.first_ratio:.2f} | {one.following_ratio:.2f} |")
    operator, wait = _alone(_operators, _OPERATORS), _alone(_waits, _WAITS)
    typer.echo(
        f"\n{operator:.0f} bytes an operator and {wait:.0f} bytes a wait (with kernel and copy) while recording."
    )
    training = _train(steps)
    typer.echo(
        f"{training.steps:,} training steps: {training.at_a_tenth / 1e6:.1f} MB resident at a tenth, "
        f"{training.at_the_end / 1e6:.1f} MB at the end."
    )
    if output is not None:
        found = Results(
            date=date.today().isoformat(),
            torch=str(torch.__version__),
            threads=torch.get_num_threads(),
            rounds=rounds,
            generate=generate,
            bytes_an_operator=operator,
            bytes_a_wait=wait,
            training=training,
        )
        output.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")


def _generate(changes: dict[str, int], rounds: int) -> Generate:
    plain = _generator("cpu", changes)
    device = VirtualDevice()
    device.start(Recorder(now_ns=device.now_ns))
    try:
        watched = _generator("cuda", changes)
    finally:
        device.stop()
    alone: list[float] = []
    first: list[float] = []
    following: list[float] = []
    for _ in range(rounds):
        alone += [_timed(plain) for _ in range(_FOLLOWING)]
        device.start(Recorder(now_ns=device.now_ns))
        try:
            first.append(_timed(watched))
            following += [_timed(watched) for _ in range(_FOLLOWING)]
        finally:
            device.stop()
    base = statistics.median(alone)
    return Generate(
        plain=_spread(alone),
        first=_spread(first),
        following=_spread(following),
        first_ratio=statistics.median(first) / base,
        following_ratio=statistics.median(following) / base,
    )


def _spread(times: Sequence[float]) -> Spread:
    low, median, high = statistics.quantiles(times, n=4)
    return Spread(median, low, high)


def _shown(spread: Spread) -> str:
    return f"{spread.median:.1f} ms ({spread.low:.1f} to {spread.high:.1f})"


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
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e3


def _resident() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096


def _alone(work: Callable[[int], None], count: int) -> float:
    """Return what `_recorded` returns in a fresh process; in a used one, freed memory would hide what is taken."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_recorded, work, count).result()


def _recorded(work: Callable[[int], None], count: int) -> float:
    """Return the bytes that the recorder keeps for each of the `count` operators or waits of `work`."""
    device = VirtualDevice()
    recorder = Recorder(now_ns=device.now_ns)
    device.start(recorder)
    try:
        work(count // 10)
        recorder.flush()
        gc.collect()
        before = _resident()
        work(count)
        recorder.flush()
        gc.collect()
        return (_resident() - before) / count
    finally:
        device.stop()


def _operators(count: int) -> None:
    x = torch.ones(3, device="cuda")
    for _ in range(count):
        x.add_(1)


def _waits(count: int) -> None:
    x = torch.ones(3, device="cuda")
    for _ in range(count):
        x.sum().item()


def _train(steps: int) -> Steps:
    """Train in a process of its own."""
    command = [sys.executable, "-c", _TRAINING, str(steps)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    (first, used), (last, used_at_last) = (
        [int(each) for each in line.split()] for line in done.stdout.splitlines()[:2]
    )
    return Steps(steps, first, last, used, used_at_last)


if __name__ == "__main__":
    typer.run(main)
