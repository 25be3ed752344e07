"""Checks that nsys records as many waits a step as syncwatch does, of the same scenario on the same GPU.

    python benchmarks/nsys_live.py benchmarks/results/nsys_live.json --nsys nsys

Needs a CUDA GPU and nsys 2022.4 or later. The scenario is run twice: live, and under `nsys profile`, whose report is
then exported, imported and cut into steps by the range of each variant. Exits 1 where the two counts differ.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from syncwatch.pipeline import report_of
from syncwatch.traces.opening import open_session

VARIANTS = ("naive", "precomputed")
SHOWN = ("syncs", "d2h_copies", "h2d_copies")


def main(
    output: Annotated[Path, typer.Argument(help="The JSON file to write.")],
    nsys: Annotated[str, typer.Option(help="The nsys to profile with.")] = "nsys",
    preset: str = "qwen3.5-2b",
    tokens: int = 1024,
    steps: int = 5,
) -> None:
    """Run, import, compare and write."""
    target = ["gdn-prefill", "--preset", preset, "--tokens", str(tokens), "--steps", str(steps), "--device", "cuda"]
    with tempfile.TemporaryDirectory() as folder:
        live = json.loads(_run(_syncwatch(*target, "--format", "json")))
        trace = _profiled(nsys, _syncwatch(*target, "--rounds", "1"), Path(folder))
        found = {name: _imported(trace, name) for name in VARIANTS}
    document: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name(),
        "nsys": _run([nsys, "--version"]).strip(),
        "parameters": live["parameters"],
        "variants": {
            each["name"]: {"live": {name: each["per_step"][name] for name in SHOWN}, "nsys": found[each["name"]]}
            for each in live["variants"]
        },
    }
    output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    typer.echo(json.dumps(document["variants"], indent=1))
    same = all(each["live"][name] == each["nsys"][name] for each in document["variants"].values() for name in SHOWN)
    raise typer.Exit(0 if same else 1)


def _syncwatch(*words: str) -> list[str]:
    return [sys.executable, "-m", "syncwatch", "run", *words]


def _profiled(nsys: str, command: list[str], folder: Path) -> Path:
    """Return the SQLite export of `command` under nsys.

    nsys records the environment, so the command gets only the variables that Python and Triton need.
    """
    kept = ("PATH", "HOME", "PYTHONPATH", "LD_LIBRARY_PATH", "CUDA_HOME", "TRITON_CACHE_DIR")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    report, trace = folder / "live.nsys-rep", folder / "live.sqlite"
    options = ["--trace=cuda,nvtx", "--sample=none", "--cpuctxsw=none", "-f", "true", "-o", str(report)]
    _run([nsys, "profile", *options, *command], environment)
    _run([nsys, "export", "--type", "sqlite", "-f", "true", "-q", "true", "-o", str(trace), str(report)], environment)
    return trace


def _imported(trace: Path, variant: str) -> dict[str, Any]:
    """Return the figures for a step of `variant`, and its sites by call and range."""
    report = report_of(open_session(trace, f"{variant}/syncwatch.step *"))
    (found,) = report.variants
    sites = [f"{site.calls_per_step:g} {site.api} {site.range or ''}".strip() for site in found.sites]
    return {"steps": found.steps, **{name: getattr(found.per_step, name) for name in SHOWN}, "sites": sites}


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command[:3])} ended with {ended.returncode}:\n{ended.stderr[-3000:]}")
    return ended.stdout


if __name__ == "__main__":
    typer.run(main)
