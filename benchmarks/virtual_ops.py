"""Answers: does the virtual device agree with a GPU on which operators wait?

Replays torch's own operator samples (`op_db`) on the virtual device, and compares "does it synchronize" with what was
measured for the same samples on a GPU:

    python benchmarks/virtual_ops.py --oracle FILE

A sample whose signature differs from the file's is left out and counted: torch's samples change between versions.
"""

from __future__ import annotations

import itertools
import json
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice

SAMPLES = 5
_SIGNATURE_LIMIT = 247


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sample, on both devices."""

    key: str
    signature: str
    expected: bool
    found: bool | None
    """None where it could not run."""
    detail: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How often the devices agree."""

    cases: int
    agreeing: int
    missed: int
    invented: int
    hits: int

    @property
    def agreement(self) -> float:
        return self.agreeing / self.cases if self.cases else 1.0

    @property
    def recall(self) -> float:
        waits = self.hits + self.missed
        return self.hits / waits if waits else 1.0

    @property
    def precision(self) -> float:
        claimed = self.hits + self.invented
        return self.hits / claimed if claimed else 1.0


def main(
    oracle: Annotated[Path, typer.Option(help="JSON of measured samples.")],
    show: Annotated[int, typer.Option(help="Disagreements and failures to list.")] = 40,
    only: Annotated[str, typer.Option(help="Part of the operators' names.")] = "",
) -> None:
    """Replay, compare and print the figures for each family of operators."""
    measured = {key: entry for key, entry in json.loads(oracle.read_text(encoding="utf-8")).items() if only in key}
    verdicts, skipped = replay(measured)
    ran = [verdict for verdict in verdicts if verdict.found is not None]
    families: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in ran:
        families[family(verdict.key)].append(verdict)
    typer.echo("| family | cases | agreement | recall | precision |\n|---|---|---|---|---|")
    for name, members in [*sorted(families.items()), ("all", ran)]:
        total = tally(members)
        typer.echo(f"| {name} | {total.cases} | {total.agreement:.2%} | {total.recall:.2%} | {total.precision:.2%} |")
    failed = [verdict for verdict in verdicts if verdict.found is None]
    typer.echo(f"\ncannot run: {len(failed)} of {len(verdicts)} ({len(failed) / max(1, len(verdicts)):.2%})")
    typer.echo(f"left out: {dict(skipped)}")
    wrong = [verdict for verdict in ran if verdict.found != verdict.expected]
    for verdict in [*wrong, *failed][:show]:
        side = "failed" if verdict.found is None else ("missed" if verdict.expected else "invented")
        typer.echo(f"{side}: {verdict.key} {verdict.signature[:100]} {verdict.detail}")


def replay(measured: Mapping[str, Any]) -> tuple[list[Verdict], Counter[str]]:
    """Run every sample of the file on the virtual device, each once to warm up and once to look."""
    verdicts: list[Verdict] = []
    skipped: Counter[str] = Counter()
    device = VirtualDevice()
    recorder = Recorder(now_ns=device.now_ns)
    device.start(recorder)
    try:
        from torch.testing._internal.common_methods_invocations import op_db

        operators = {(op.name, op.variant_test_name): op for op in op_db}
        wanted = Counter("|".join(key.split("|")[:3]) for key in measured)
        for prefix in wanted:
            name, variant, dtype = prefix.split("|")
            op = operators.get((name, variant))
            if op is None:
                skipped["operator unknown here"] += wanted[prefix]
                continue
            for index, sample in _samples(op, getattr(torch, dtype)):
                entry = measured.get(f"{prefix}|{index}")
                if entry is None:
                    continue
                if "err" in entry:
                    skipped["failed on the GPU"] += 1
                elif isinstance(sample, Exception):
                    verdicts.append(Verdict(f"{prefix}|{index}", "", synchronizes(entry), None, repr(sample)[:200]))
                elif signature(sample)[:_SIGNATURE_LIMIT] != entry["sig"][:_SIGNATURE_LIMIT]:
                    skipped["another signature"] += 1
                else:
                    verdicts.append(_judge(f"{prefix}|{index}", op, sample, entry, recorder))
    finally:
        device.stop()
    return verdicts, skipped


def _samples(op: Any, dtype: torch.dtype) -> Iterator[tuple[int, Any]]:
    torch.manual_seed(0)
    try:
        yield from enumerate(itertools.islice(op.sample_inputs("cuda", dtype, requires_grad=False), SAMPLES))
    except Exception as error:
        yield from ((index, error) for index in range(SAMPLES))


def _judge(key: str, op: Any, sample: Any, entry: Mapping[str, Any], recorder: Recorder) -> Verdict:
    expected = synchronizes(entry)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            op.op(sample.input, *sample.args, **sample.kwargs)
            before = len(recorder.syncs)
            op.op(sample.input, *sample.args, **sample.kwargs)
    except Exception as error:
        return Verdict(key, entry["sig"], expected, None, f"{type(error).__name__}: {str(error)[:150]}")
    seen = recorder.syncs[before:]
    detail = " ".join(str(event.op) for event in seen[:6])
    return Verdict(key, entry["sig"], expected, bool(seen), detail or f"GPU: {entry.get('cupti')}")


def synchronizes(entry: Mapping[str, Any]) -> bool:
    """Return whether the GPU was waited for."""
    return bool(entry.get("warn", 0)) or any("Synchronize" in call for call in entry.get("cupti") or {})


def signature(sample: Any) -> str:
    """Return the shapes of a sample, as the file writes them."""
    named = ",".join(f"{name}={_brief(value)}" for name, value in sample.kwargs.items())
    return f"{_brief(sample.input)};{_brief(list(sample.args))};{named}"


def _brief(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        where = "" if value.is_cuda else "cpu"
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}{where}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_brief(each) for each in value)}]"
    return repr(value)


def family(key: str) -> str:
    """Return the family of an operator: its namespace, or `tensor`."""
    name = key.split("|")[0]
    return name.rpartition(".")[0] or "tensor"


def tally(verdicts: list[Verdict]) -> Tally:
    """Return how often the devices agree."""
    hits = sum(bool(verdict.found) and verdict.expected for verdict in verdicts)
    missed = sum(not verdict.found and verdict.expected for verdict in verdicts)
    invented = sum(bool(verdict.found) and not verdict.expected for verdict in verdicts)
    return Tally(len(verdicts), len(verdicts) - missed - invented, missed, invented, hits)


if __name__ == "__main__":
    typer.run(main)
