"""Makes the blocks of README.md and docs/ on prices, the cost of watching and the speed of the kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from benchmarks import torch_rows
from benchmarks.gain_programs.table import Row, Summary, markdown
from benchmarks.readme_results import Block, Results, short, with_interval

_HEADLINE = (16, 64, 1, 8192)
"""Key heads, value heads, sequences and tokens of the case that the README names."""
_OURS, _THEIRS = "syncwatch", "flash-linear-attention"


def _kernels(results: Results) -> str:
    found = results.read("gdn_prefill_kernels")
    case = next(each for each in found["cases"] if _shape(each) == _HEADLINE)
    eager, everything = case["eager"], [each["eager"]["ratio"] for each in found["cases"]]
    low, high = eager["ci95"]
    return (
        f"At 16 key and 64 value heads (Qwen3.5-397B) a sequence of 8,192 tokens takes "
        f"{eager['median_ms'][_OURS]:.3f} ms, and {eager['median_ms'][_THEIRS]:.3f} ms in flash-linear-attention "
        f"{found['versions'][_THEIRS]}: {eager['ratio']:.2f} times as fast (95 % interval {low:.2f} to {high:.2f}). "
        f"Over {len(everything)} shapes it is {min(everything):.2f} to {max(everything):.2f} times ({found['gpu']}, "
        f"{found['date']}, called from Python)."
    )


def _shape(case: Mapping[str, int]) -> tuple[int, int, int, int]:
    return case["key_heads"], case["value_heads"], case["sequences"], case["tokens"]


def _decode(results: Results) -> str:
    found = results.read("gdn_decode")
    served = [row for row in found["rows"] if tuple(row["heads"]) == (16, 64) and row["requests"] == 64]
    shares = ", ".join(
        f"{row['copy_share']['median']:.1%} {'with' if row['drafts'] else 'without'} drafts" for row in served
    )
    return (
        f"At those heads a decode step of 64 requests reaches {shares}, of the bandwidth of a copy "
        f"({found['copy_gbytes_per_s']['median']:.0f} GB/s; {found['gpu']}, {found['date']})."
    )


def _truth(results: Results) -> str:
    found = results.read("prices")
    rows = ["| program | blocked, known | said | bubble, known | said |", "|---|---|---|---|---|"]
    for row in found["rows"]:
        figures = (row[f"{what}_{price}_us"] for price in ("blocked", "bubble") for what in ("known", "said"))
        rows.append(f"| {row['program']} | {' | '.join(_us(each) for each in figures)} |")
    return "\n".join([*rows, "", _recorded(found)])


def _gains(results: Results) -> str:
    """Return what is said of gains beside the true ones, and how much of it is within the bounds."""
    found = results.read("gains")
    rows, summary = msgspec.convert(found["rows"], list[Row]), msgspec.convert(found["summary"], Summary)
    return "\n".join([markdown(rows), "", f"{summary.words()}. {_recorded(found)}"])


def _overhead(results: Results) -> str:
    found = results.read("overhead")
    rows = ["| what | watched by | plain | added | ratio (95 % interval) |", "|---|---|---|---|---|"]
    rows += [
        f"| {row['what']} | {row['watcher']} | {_length(row['plain_us'])} | {_added(row)} "
        f"| {with_interval(row['ratio'], row['ratio_ci95'])} |"
        for row in found["rows"]
    ]
    return "\n".join([*rows, "", _recorded(found)])


def _coverage(results: Results) -> str:
    found = results.read("sync_ops")
    rows = found["specimens"].values()
    seen, with_line = sum(each["seen"].get("cupti", 0) for each in rows), sum(each["with_line"] or 0 for each in rows)
    still = [each for each in rows if each["stood_still"]]
    missed = sum(not each["syncs"] for each in still)
    return (
        f"Over {len(rows)} idioms CUPTI saw {seen} waits, and {with_line} of them have a line. The host stood still in "
        f"{len(still)}; in {missed} of those no wait was found ({found['gpu']}, torch {short(found['torch'])})."
    )


_GUARDED = ("a small step, bound by the host", "`gdn-prefill`, Qwen3-Next-80B, 8,192 tokens")
"""The steps that `benchmarks/guard.py` measures."""


def _guard(results: Results) -> str:
    found = results.read("guard")
    ways = ("guard around every step", "guard around all steps", "guard off", "markers")
    lines = ["| way | " + " | ".join(_GUARDED) + " |", "|---|" + "---|" * len(_GUARDED)]
    steps = [found, found["prefill"]]
    for way in ways:
        cells = [with_interval(each["ratio_to_plain"][way], each["ratio_ci95"][way]) for each in steps]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    plain = " and ".join(_length(each["step_us"]["plain"]) for each in steps)
    return "\n".join([*lines, "", f"The plain steps took {plain} ({found['gpu']}, torch {short(found['torch'])})."])


_WHAT_IF_REPORTS = {
    "gdn_prefill_2b_balanced": "`gdn-prefill`, Qwen3.5-2B, balanced",
    "gdn_prefill_80b_balanced": "`gdn-prefill`, Qwen3-Next-80B, balanced",
    "seq_lens": "`seq-lens`",
    "spec_decode_what_if": "`spec-decode`, Qwen3.5-2B, 20 steps",
    "gdn_prefill_80b_1024_miss": "`gdn-prefill`, Qwen3-Next-80B, cache missed",
}
"""Reports that were made with `--what-if`, and the scenario of each."""


def _ceiling(results: Results) -> str:
    rows = ["| scenario | predicted for naive, at best | gained by precomputed |", "|---|---|---|"]
    for name, what in _WHAT_IF_REPORTS.items():
        report = results.read(name)
        naive = next(each for each in report["variants"] if each["name"] == "naive")
        predicted, gained = naive["what_if"][-1], report["comparison"]
        rows.append(
            f"| {what} | {with_interval(predicted['step_time_ratio'], predicted['ci95'])} "
            f"| {with_interval(gained['step_time_ratio'], gained['ci95'])} |"
        )
    return "\n".join(rows)


def _added(row: Mapping[str, Any]) -> str:
    low, high = row["ratio_ci95"]
    return "no difference shown" if low <= 1 <= high else _length(row["added_us"])


def _us(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.0f} µs"


def _length(us: float) -> str:
    return f"{us / 1000:.2f} ms" if abs(us) >= 1000 else f"{us:.2f} µs"


def _recorded(found: Mapping[str, str]) -> str:
    return f"{found['gpu']}, {found['date']}, torch {short(found['torch'])}."


def _torch_versions(results: Results) -> str:
    return torch_rows.table(results.folder("torch"))


BLOCKS: dict[str, Block] = {
    "torch-versions": _torch_versions,
    "kernels": _kernels,
    "decode": _decode,
    "gains": _gains,
    "truth": _truth,
    "overhead": _overhead,
    "coverage": _coverage,
    "guard": _guard,
    "ceiling": _ceiling,
}
"""The function that makes each block, by the name in its opening comment."""
