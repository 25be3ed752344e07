"""Makes the blocks of README.md and docs/ on the scenarios, from saved reports and their benchmarks' results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.readme_results import Block, Results, short, with_interval
from benchmarks.summary import table
from syncwatch.report.terminal import TerminalReporter

_WIDTH = 118
"""Columns of the terminal for which the finding is laid out."""
_PREFILLS = ("397b_8192", "80b_gpu_bound", "80b_balanced", "80b_host_bound", "80b_1024_miss", "2b_1024")
_SERVED = {
    "requests_per_s": "requests a second",
    "tokens_per_s": "tokens a second",
    "ttft_ms_mean": "mean ms to the first token",
    "ttft_ms_p99": "99th percentile of that",
    "tpot_ms_mean": "mean ms per later token",
}
"""Figures of a served trace, and their names in the README."""


def _machine(results: Results) -> str:
    environment = results.report("gdn_prefill_397b_8192").environment
    return f"{environment.gpu}, {results.date()}, torch {short(environment.torch)}, triton {environment.triton}"


def _finding(results: Results) -> str:
    """Return the finding on the README's first screen, as a terminal shows it."""
    report = results.report("llama_generate")
    site = next((each for each in report.sites if each.function == "StopCheck.__call__"), report.sites[0])
    place = f"--> {site.file}:{site.line} in "
    chunks = TerminalReporter(_WIDTH).render(report).split("\n\n")
    shown = next(chunk for chunk in chunks if place in chunk).strip("\n")
    command = "$ syncwatch run llama_generate.py        # an unmodified script that calls transformers' generate()"
    return f"```console\n{command}, on one {report.environment.gpu}\n...\n{shown}\n```"


def _prefill(results: Results) -> str:
    for name in _PREFILLS:
        results.report(f"gdn_prefill_{name}")
    return table([results.read(f"gdn_prefill_{name}") for name in _PREFILLS])


def _ratio_of(name: str) -> Block:
    """Return a block that gives the ratio of step times in a saved report, with its interval."""

    def block(results: Results) -> str:
        comparison = results.report(name).comparison
        assert comparison is not None and comparison.step_time_ratio is not None and comparison.ci95 is not None
        return with_interval(comparison.step_time_ratio, comparison.ci95)

    return block


def _measured(name: str) -> Block:
    """Return a block for the cell of one scenario: waits a step, and the ratio of step times."""

    def block(results: Results) -> str:
        report = results.report(name)
        first, last = report.variants[0].per_step, report.variants[-1].per_step
        comparison = report.comparison
        ratio = "step times not compared"
        if comparison is not None and comparison.step_time_ratio is not None and comparison.ci95 is not None:
            ratio = (
                f"step time ratio {with_interval(comparison.step_time_ratio, comparison.ci95)}, {comparison.verdict}"
            )
        return f"{first.syncs:.3g} → {last.syncs:.3g} syncs a step; {ratio}"

    return block


def _serving(results: Results) -> str:
    found = results.read("spec_decode_2b")
    waits = [found["variants"][name]["waits"]["implicit_syncs_per_step"] for name in ("naive", "precomputed")]
    told = [f"{_SERVED[figure]}: {_factor(found, figure)}" for figure in ("requests_per_s", "ttft_ms_mean")]
    return "; ".join([" → ".join(f"{each['mixed']:g}" for each in waits) + " syncs a mixed step", *told])


def _serving_table(results: Results) -> str:
    found = results.read("spec_decode_2b")
    variants = [found["variants"][name] for name in ("naive", "precomputed")]
    rows = ["| figure | naive | precomputed | precomputed / naive (95 % interval) |", "|---|---|---|---|"]
    for figure, words in _SERVED.items():
        values = " | ".join(f"{each['figures'][figure]['median']:.4g}" for each in variants)
        rows.append(f"| {words} | {values} | {_factor(found, figure)} |")
    rows += ["", "| class of step | steps | naive: syncs a step | precomputed |", "|---|---|---|---|"]
    waits = [each["waits"] for each in variants]
    for kind, count in waits[0]["steps"].items():
        pair = " | ".join(f"{each['implicit_syncs_per_step'][kind]:g}" for each in waits)
        rows.append(f"| {kind} | {count} | {pair} |")
    environment = found["environment"]
    requests = found["parameters"]["requests"]
    return "\n".join(
        [
            *rows,
            "",
            f"{requests} requests, {environment['gpu']}, {results.date()}, torch {short(environment['torch'])}.",
        ]
    )


def _factor(found: Mapping[str, Any], figure: str) -> str:
    """Return how many times as large a figure's median is in `precomputed` as in `naive`, with its interval."""
    compared = (found["comparison"] or {}).get(figure)
    if compared is None or compared["ci95"] is None:
        return "not compared"
    return with_interval(compared["ratio"], compared["ci95"])


def _warmup(results: Results) -> str:
    found = results.read("kernel_warmup")
    times = " → ".join(f"{each['warmup_s']['median']:.2f} s" for each in found["variants"])
    counts = " → ".join(_range(each["compiled"]) for each in found["variants"])
    return f"{counts} configurations compiled; warm-up {times}"


def _warmup_table(results: Results) -> str:
    rows = [
        "| variant | warm-up (95 % interval) | compiled | benchmarked | waits | compiled while serving |",
        "|---|---|---|---|---|---|",
    ]
    for each in results.read("kernel_warmup")["variants"]:
        warmup, served = each["warmup_s"], max(request["compiled"] for request in each["requests"])
        waits = "not measured" if each["warmup_syncs"] is None else f"{each['warmup_syncs']:g}"
        rows.append(
            f"| {each['name']} | {warmup['median']:.2f} s ({warmup['ci95'][0]:.2f} to {warmup['ci95'][1]:.2f}) "
            f"| {_range(each['compiled'])} | {_range(each['benchmarked'])} | {waits} | {served} |"
        )
    return "\n".join(rows)


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


BLOCKS: dict[str, Block] = {
    "machine": _machine,
    "finding": _finding,
    "prefill": _prefill,
    "tiny": _ratio_of("gdn_prefill_tiny"),
    "tiny-miss": _ratio_of("gdn_prefill_tiny_miss"),
    "scenario-prefill": _measured("gdn_prefill_80b_balanced"),
    "scenario-seq-lens": _measured("seq_lens"),
    "scenario-spec-decode": _serving,
    "scenario-kernel-warmup": _warmup,
    "spec-decode": _serving_table,
    "kernel-warmup": _warmup_table,
}
"""The function that makes each block, by the name in its opening comment."""
