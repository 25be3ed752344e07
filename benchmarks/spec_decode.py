"""Measures what the waits of the metadata builder cost a server: requests and tokens a second, and latencies.

    python benchmarks/spec_decode.py run benchmarks/results/spec_decode_2b.json --preset qwen3.5-2b --requests 1000
    python benchmarks/spec_decode.py show benchmarks/results/spec_decode_*.json

Both variants serve the same trace to its end, in rounds that alternate; all requests are there from the start. A time
is that of the device's clock when the tokens of a step had reached the host's memory; it is read when the trace is
over. The waits of each class of step are counted in a pass of their own. On the virtual device (`--device virtual`)
the times are modelled and do not vary, so there is one round.
"""

from __future__ import annotations

import contextlib
import json
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from scipy.stats import bootstrap
from syncwatch_scenarios.spec_decode import SCENARIO, SpecDecodeOptions

import syncwatch
from syncwatch.sense.choose_device import DeviceChoice

if TYPE_CHECKING:
    from syncwatch_scenarios.spec_decode.model import SpecDecodeModel
    from syncwatch_scenarios.spec_decode.presets import ServingShape
    from syncwatch_scenarios.spec_decode.serving_loop import ServingLoop

VARIANTS = ("naive", "precomputed")
PUBLISHED = {
    "source": "https://github.com/vllm-project/vllm/pull/38047",
    "requests_per_s_before": 48.61,
    "tokens_per_s_before": 9149,
    "throughput": "+7 %",
    "time_to_first_token": "-20 %",
}
SHOWN = ("requests_per_s", "tokens_per_s", "ttft_ms_mean", "ttft_ms_p50", "ttft_ms_p99")
SHOWN_PER_TOKEN = ("tpot_ms_mean", "tpot_ms_p50", "tpot_ms_p99")

Figures = Mapping[str, float | None]
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Server:
    """The model of a preset, and one fixed trace for it."""

    def __init__(self, options: SpecDecodeOptions) -> None:
        # Imported only once the device is chosen, as that decides how Triton kernels run.
        import torch
        from syncwatch_scenarios.spec_decode.model import SpecDecodeModel
        from syncwatch_scenarios.spec_decode.workload import shape_for

        torch.manual_seed(options.seed)
        self._seed = options.seed
        self.shape: ServingShape = shape_for(options)
        self._model: SpecDecodeModel = SpecDecodeModel(self.shape, torch.device("cuda"))

    def begin(self, variant: str, requests: int) -> ServingLoop:
        """Return a serving loop at the start of the trace."""
        from syncwatch_scenarios.serving.scheduler import draw_requests
        from syncwatch_scenarios.spec_decode.serving_loop import ServingLoop

        load = replace(self.shape.load, requests=requests)
        trace = draw_requests(load, self._seed)
        return ServingLoop(self._model, self.shape, trace, self._seed, masks_on_device=variant == "naive")

    def serve(self, variant: str, requests: int) -> ServingLoop:
        """Serve the trace to its end."""
        loop = self.begin(variant, requests)
        while loop.step() is not None:
            pass
        loop.finish()
        return loop


@app.command()
def run(
    output: Path,
    preset: str = "qwen3.5-2b",
    requests: Annotated[int, typer.Option(min=1, help="Requests of the trace.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of both variants, in turn.")] = 5,
    counted: Annotated[int, typer.Option(min=1, help="Requests of the pass that counts the waits.")] = 48,
    batch: Annotated[int | None, typer.Option(help="Requests at once.")] = None,
    layers: int | None = None,
    seed: int = 0,
    device: DeviceChoice = DeviceChoice.CUDA,
) -> None:
    """Measure both variants and write what was found."""
    with on_device(device):
        options = SpecDecodeOptions(preset, batch=batch, layers=layers, seed=seed)
        SCENARIO.check(options)
        server = Server(options)
        tokens = {variant: server.serve(variant, min(requests, counted)).transcript.tokens for variant in VARIANTS}
        figures, parts, traces = measure(server, requests, 1 if device is DeviceChoice.VIRTUAL else rounds)
        waits = {variant: count_waits(server, variant, counted, device) for variant in VARIANTS}
        environment = waits[VARIANTS[0]].pop("environment")
        waits[VARIANTS[1]].pop("environment")
    equal = tokens["naive"] == tokens["precomputed"] and traces["naive"] == traces["precomputed"]
    document = {
        "preset": preset,
        "environment": environment,
        "modelled": device is DeviceChoice.VIRTUAL,
        "parameters": parameters(server.shape, requests, seed),
        "outputs_equal": equal,
        "variants": {
            name: {"figures": medians(figures[name]), "steps": parts[name], "waits": waits[name]} for name in VARIANTS
        },
        "comparison": compare(figures["naive"], figures["precomputed"]) if equal else None,
        "published": PUBLISHED,
    }
    output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    show([output])


@app.command()
def show(reports: list[Path]) -> None:
    """Print what saved results say, as Markdown."""
    for path in reports:
        report = json.loads(path.read_text(encoding="utf-8"))
        typer.echo(
            f"\n{report['preset']}, {report['parameters']['requests']} requests, {report['environment']['gpu']}\n"
        )
        typer.echo("| figure | naive | precomputed | precomputed / naive (95 % interval) |\n|---|---|---|---|")
        for figure in (*SHOWN, *SHOWN_PER_TOKEN):
            typer.echo(_row(report, figure))
        typer.echo("\n| class of step | steps | naive: waits a step | precomputed |\n|---|---|---|---|")
        naive, precomputed = (report["variants"][name]["waits"] for name in VARIANTS)
        for kind, count in naive["steps"].items():
            pair = [each["implicit_syncs_per_step"][kind] for each in (naive, precomputed)]
            typer.echo(f"| {kind} | {count} | {pair[0]:g} | {pair[1]:g} |")


@contextlib.contextmanager
def on_device(device: DeviceChoice) -> Iterator[None]:
    """Run the block on the virtual device where that was asked for."""
    with syncwatch.watch(device="virtual") if device is DeviceChoice.VIRTUAL else contextlib.nullcontext():
        yield


Rounds = dict[str, list[Figures]]


def measure(
    server: Server, requests: int, rounds: int
) -> tuple[Rounds, dict[str, dict[str, int]], dict[str, dict[int, list[int]]]]:
    """Return the figures of each round, the number of steps of each class, and the tokens of the last round."""
    from syncwatch_scenarios.serving.metrics import serving_figures

    figures: Rounds = {variant: [] for variant in VARIANTS}
    parts, tokens = {}, {}
    for number in range(rounds):
        for variant in VARIANTS if number % 2 == 0 else VARIANTS[::-1]:
            loop = server.serve(variant, requests)
            transcript = loop.transcript
            figures[variant].append(
                {
                    **serving_figures(loop.deliveries()),
                    "draft_acceptance": transcript.accepted / transcript.drafted if transcript.drafted else None,
                }
            )
            parts[variant] = dict(Counter(kind.value for kind in transcript.kinds))
            tokens[variant] = transcript.tokens
    return figures, parts, tokens


def count_waits(server: Server, variant: str, requests: int, device: DeviceChoice) -> dict[str, Any]:
    """Count the synchronizations of each class of step, over a short trace that is served to its end."""
    loop = server.begin(variant, requests)
    # Without prices: reading the records of every kernel of some hundred steps takes minutes.
    with syncwatch.watch(device=device.value, prices=False) as watch:
        going = True
        while going:
            with syncwatch.step():
                going = loop.step() is not None
        loop.finish()
    kinds = [kind.value for kind in loop.transcript.kinds]
    steps = Counter(kinds)
    implicit: Counter[str] = Counter()
    explicit: Counter[str] = Counter()
    for sync in watch.session.recordings[0].syncs:
        if sync.step is not None and sync.step < len(kinds):
            (explicit if sync.explicit else implicit)[kinds[sync.step]] += 1
    return {
        "environment": {"gpu": watch.session.environment.gpu, "torch": watch.session.environment.torch},
        "requests": requests,
        "steps": dict(steps),
        "implicit_syncs_per_step": {kind: implicit[kind] / count for kind, count in steps.items()},
        "explicit_syncs_per_step": {kind: explicit[kind] / count for kind, count in steps.items()},
    }


def medians(rounds: Sequence[Figures]) -> dict[str, dict[str, Any]]:
    """Return for each figure the median over the rounds, and what each round gave."""
    result = {}
    for name in rounds[0]:
        values = [value for each in rounds if (value := each[name]) is not None]
        result[name] = {"median": statistics.median(values) if values else None, "rounds": values}
    return result


def compare(naive: Sequence[Figures], precomputed: Sequence[Figures]) -> dict[str, dict[str, Any] | None]:
    """Return for each figure the ratio of the medians, precomputed over naive, and its bootstrap interval."""
    ratios: dict[str, dict[str, Any] | None] = {}
    for name in naive[0]:
        pairs = [(old[name], new[name]) for old, new in zip(naive, precomputed, strict=True)]
        known = np.array([(old, new) for old, new in pairs if old and new], dtype=float)
        ratios[name] = {"ratio": float(_ratio(*known.T)), "ci95": _interval(known)} if len(known) else None
    return ratios


def _ratio(naive: Any, precomputed: Any, axis: int = -1) -> Any:
    return np.median(precomputed, axis=axis) / np.median(naive, axis=axis)


def _interval(pairs: Any) -> tuple[float, float] | None:
    """Return the ratio's bootstrap interval over whole rounds, as both halves of a round ran at the same clocks."""
    if len(pairs) < 2 or not np.ptp(pairs, axis=0).any():
        return None
    found = bootstrap(
        tuple(pairs.T), _ratio, paired=True, vectorized=True, method="percentile", random_state=np.random.default_rng(0)
    ).confidence_interval
    return float(found.low), float(found.high)


def parameters(shape: ServingShape, requests: int, seed: int) -> dict[str, Any]:
    """Return the sizes, the load and the seed of the run."""
    return {
        "requests": requests,
        "layers": shape.model.layers,
        "hidden": shape.model.hidden,
        "heads": [shape.model.key_heads, shape.model.value_heads],
        "vocabulary": shape.vocabulary,
        "drafts": shape.drafts,
        "requests_at_once": shape.model.batch,
        "tokens_a_step": shape.model.tokens,
        "prompt_mean": shape.load.prompt_mean,
        "output_mean": shape.load.output_mean,
        "launches": "eager",
        "seed": seed,
    }


def _row(report: dict[str, Any], figure: str) -> str:
    values = [report["variants"][name]["figures"][figure]["median"] for name in VARIANTS]
    ratio = (report["comparison"] or {}).get(figure)
    if ratio is None:
        compared = "not compared"
    elif ratio["ci95"] is None:
        compared = f"{ratio['ratio']:.3f}"
    else:
        compared = f"{ratio['ratio']:.3f} ({ratio['ci95'][0]:.3f} to {ratio['ci95'][1]:.3f})"
    shown = ["not measured" if value is None else f"{value:.4g}" for value in values]
    return f"| {figure} | {' | '.join(shown)} | {compared} |"


if __name__ == "__main__":
    app()
