"""Checks that the virtual device names the same lines as a GPU, on models of the transformers library.

Run it once on each device, then compare:

    python benchmarks/real_programs.py run --device cuda -o benchmarks/results/real_programs.json
    python benchmarks/real_programs.py run --device virtual -o /tmp/virtual.json
    python benchmarks/real_programs.py compare benchmarks/results/real_programs.json /tmp/virtual.json

Needs transformers (`pip install 'syncwatch[test]'`).
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import msgspec
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import syncwatch  # noqa: E402
from benchmarks.torch_changes import SITES, in_force  # noqa: E402
from syncwatch.sense.choose_device import DeviceChoice, open_device  # noqa: E402

Sites = dict[str, int]
"""From `file:line` to the number of synchronizations there."""


class Program(msgspec.Struct, frozen=True):
    """What one program did on one device."""

    syncs: int
    d2h_copies: int | None
    h2d_copies: int | None
    sites: Sites


class Results(msgspec.Struct, frozen=True):
    """What every program did on one device."""

    device: str
    gpu: str | None
    torch: str
    transformers: str
    programs: dict[str, Program]
    failed: dict[str, str]


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    output: Annotated[Path, typer.Option("-o", "--output")],
    device: DeviceChoice = DeviceChoice.AUTO,
    only: Annotated[str, typer.Option(help="Part of the names to run.")] = "",
) -> None:
    """Run every program under `syncwatch.watch` and write its sites."""
    # The device is open before the imports, so that modules are watched from the first, as `syncwatch run` does it.
    with contextlib.closing(open_device(device)) as opened:
        import torch
        import transformers

        from tests.programs import transformers_held_out, transformers_models

        transformers.logging.set_verbosity_error()
        programs: dict[str, Program] = {}
        failed: dict[str, str] = {}
        for name, function in {**transformers_models.PROGRAMS, **transformers_held_out.PROGRAMS}.items():
            if only not in name:
                continue
            # The first torch.compile in a process switches this off for good (torch/_dynamo/eval_frame.py).
            torch.distributions.Distribution.set_default_validate_args(__debug__)
            try:
                function()  # the first run also loads modules and compiles
                with syncwatch.watch(device.value, target=name) as watch:
                    function()
            except Exception as error:
                failed[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
                continue
            programs[name] = _program(watch.report)
            typer.echo(f"{name}: {programs[name].syncs} syncs at {len(programs[name].sites)} lines", err=True)
        environment = opened.environment()
    results = Results(
        device=opened.kind.value,
        gpu=environment.gpu,
        torch=environment.torch,
        transformers=transformers.__version__,
        programs=programs,
        failed=failed,
    )
    output.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def _program(report: syncwatch.Report) -> Program:
    (variant,) = report.variants
    sites: Counter[str] = Counter()
    for site in variant.sites:
        sites[f"{site.file}:{site.line}"] += site.calls
    figures = variant.per_step
    return Program(
        syncs=sum(sites.values()),
        d2h_copies=None if figures.d2h_copies is None else round(figures.d2h_copies),
        h2d_copies=None if figures.h2d_copies is None else round(figures.h2d_copies),
        sites=dict(sorted(sites.items())),
    )


@app.command()
def compare(truth: Path, other: Path) -> None:
    """Print, for each program, how far `other` agrees with `truth`; exit 1 when a site or a count differs."""
    expected = msgspec.json.decode(truth.read_bytes(), type=Results)
    found = msgspec.json.decode(other.read_bytes(), type=Results)
    changes = in_force(SITES, found.torch)
    right = wrong = missed = 0
    for name, program in expected.programs.items():
        for site in program.sites.keys() & changes.keys():
            program.sites[site] = sum(changes[site].syncs.values())
        if name not in found.programs:
            typer.echo(f"{name}: not run on {found.device}: {found.failed.get(name, 'left out')}")
            missed += len(program.sites)
            continue
        mine = found.programs[name].sites
        same = sum(mine.get(site, 0) == calls for site, calls in program.sites.items())
        right += same
        wrong += len(mine.keys() | {site for site, calls in program.sites.items() if not calls}) - same
        missed += len(program.sites) - same
        typer.echo(f"{name}: {same} of {len(program.sites)} lines agree with their count")
        for site in sorted(program.sites.keys() | mine.keys()):
            if program.sites.get(site) != mine.get(site):
                typer.echo(f"    {site}: {program.sites.get(site, 0)} on {expected.device}, {mine.get(site, 0)} here")
    score = 2 * right / max(2 * right + wrong + missed, 1)
    typer.echo(f"F1 over lines with their counts: {score:.4f} ({right} agree, {wrong} too many, {missed} missed)")
    raise typer.Exit(0 if wrong == missed == 0 else 1)


if __name__ == "__main__":
    app()
