"""Answers: what does a saved report of two variants say, as one row of a Markdown table?

python benchmarks/summary.py benchmarks/results/gdn_prefill_*.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def main(reports: Annotated[list[Path], typer.Argument()]) -> None:
    """Print a row for each report."""
    typer.echo("| run | syncs a step | D2H copies | host blocked | GPU idle | step time | ratio (95 % interval) |")
    typer.echo("|---|---|---|---|---|---|---|")
    for path in reports:
        typer.echo(_row(json.loads(path.read_text(encoding="utf-8"))))


def _row(report: dict[str, Any]) -> str:
    parameters = report["parameters"]
    variants = report["variants"]
    name = f"{parameters['preset']}, {parameters['tokens a step']} tokens"
    if "missed" in parameters["metadata cache"]:
        name += ", cache missed"
    figures = [
        _pair(variants, lambda each: f"{each['per_step']['syncs']:g}"),
        _pair(variants, lambda each: f"{each['per_step']['d2h_copies']:g}"),
        _pair(variants, lambda each: f"{each['per_step']['host_blocked_us']:.1f} µs"),
        _pair(variants, lambda each: f"{each['per_step']['gpu_idle_us']:.0f} µs"),
        _pair(variants, lambda each: f"{each['step_ms']['median']:.2f} ms"),
    ]
    comparison = report["comparison"]
    low, high = comparison["ci95"]
    ratio = f"{comparison['step_time_ratio']:.3f} ({low:.3f} to {high:.3f}), {comparison['verdict']}"
    return f"| {name} | {' | '.join(figures)} | {ratio} |"


def _pair(variants: list[dict[str, Any]], figure: Any) -> str:
    return " → ".join(figure(each) for each in variants)


if __name__ == "__main__":
    typer.run(main)
