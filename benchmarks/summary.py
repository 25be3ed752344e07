"""Prints saved reports of two variants as rows of a Markdown table.

The column "priced at" says how many times as long a step took in the pass that measured the two columns before it.

python benchmarks/summary.py benchmarks/results/gdn_prefill_*.json
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from syncwatch.report import text

_HEAD = (
    "| run | syncs a step | D2H copies | host blocked | GPU idle after | priced at | step time "
    "| ratio (95 % interval) |",
    "|---|---|---|---|---|---|---|---|",
)


def main(reports: Annotated[list[Path], typer.Argument()]) -> None:
    """Print a row for each report."""
    typer.echo(table(json.loads(path.read_text(encoding="utf-8")) for path in reports))


def table(reports: Iterable[dict[str, Any]]) -> str:
    """Return a row for each report, under a head."""
    return "\n".join((*_HEAD, *map(_row, reports)))


def _row(report: dict[str, Any]) -> str:
    variants = report["variants"]
    figures = [
        _pair(variants, lambda each: _figure(each["per_step"]["syncs"], ".3g", "")),
        _pair(variants, lambda each: _figure(each["per_step"]["d2h_copies"], ".3g", "")),
        _pair(variants, lambda each: text.micros(each["per_step"]["host_blocked_us"])),
        _pair(variants, lambda each: text.micros(each["per_step"]["gpu_idle_us"])),
        _figure(variants[0]["price_overhead"], ".2f", " x step time"),
        _pair(variants, lambda each: _figure(each["step_ms"] and each["step_ms"]["median"], ".2f", " ms")),
    ]
    return f"| {_name(report['parameters'])} | {' | '.join(figures)} | {_compared(report['comparison'])} |"


def _name(parameters: dict[str, str]) -> str:
    name = f"{parameters['preset']}, {parameters['tokens a step']} tokens"
    if parameters.get("regime", "none") != "none":
        name += f", {parameters['regime']}"
    if "missed" in parameters.get("metadata cache", ""):
        name += ", cache missed"
    return name


def _compared(comparison: dict[str, Any]) -> str:
    if comparison["step_time_ratio"] is None:
        return str(comparison["verdict"])
    if comparison["ci95"] is None:
        return f"{comparison['step_time_ratio']:.3f}, {comparison['verdict']}"
    low, high = comparison["ci95"]
    return f"{comparison['step_time_ratio']:.3f} ({low:.3f} to {high:.3f}), {comparison['verdict']}"


def _pair(variants: list[dict[str, Any]], figure: Callable[[dict[str, Any]], str]) -> str:
    return " → ".join(figure(each) for each in variants)


def _figure(value: float | None, form: str, unit: str) -> str:
    return "not measured" if value is None else f"{value:{form}}{unit}"


if __name__ == "__main__":
    typer.run(main)
