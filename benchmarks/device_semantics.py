"""Compares how streams, events and the allocators behave on the virtual device and on a GPU.

    python benchmarks/device_semantics.py run benchmarks/results/device_semantics.json --device cuda
    python benchmarks/device_semantics.py run /tmp/virtual.json --device virtual
    python benchmarks/device_semantics.py compare benchmarks/results/device_semantics.json /tmp/virtual.json

The cases are in `semantics_cases.py`. They run in one process, one after the other; one that raises is recorded by the
type of its error. Needs torch and syncwatch alone, and a few seconds.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from syncwatch.sense.choose_device import DeviceChoice  # noqa: E402


class Answers(msgspec.Struct):
    """The result of every case on one device."""

    device: str
    gpu: str
    torch: str
    wall_s: float
    cases: dict[str, Any]
    """What the case returned, or `{"raised": type, "said": first line}`."""


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    output: Path,
    device: DeviceChoice = DeviceChoice.AUTO,
    only: Annotated[str, typer.Option(help="Part of the names to run.")] = "",
) -> None:
    """Run every case and write its result."""
    warnings.simplefilter("ignore")
    import torch

    began = time.monotonic()
    chosen = DeviceChoice.CUDA if torch.cuda.is_available() else DeviceChoice.VIRTUAL
    chosen = chosen if device is DeviceChoice.AUTO else device
    with _on(chosen):
        from benchmarks.semantics_cases import CASES

        # A garbage collection before each case need not look through what was imported so far.
        gc.collect()
        gc.freeze()
        cases = {name: _answer(function) for name, function in CASES.items() if only in name}
        gpu = torch.cuda.get_device_name()
    found = Answers(chosen.value, gpu, str(torch.__version__), round(time.monotonic() - began, 2), cases)
    output.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    errors = sum(isinstance(each, dict) for each in cases.values())
    typer.echo(f"{len(cases)} cases, {errors} raised ({found.device}, {found.gpu}, {found.wall_s:.1f} s)")


@contextmanager
def _on(device: DeviceChoice) -> Iterator[None]:
    if device is DeviceChoice.CUDA:
        yield
        return
    from syncwatch.sense.virtual.device import VirtualDevice

    virtual = VirtualDevice()
    virtual.start()
    try:
        yield
    finally:
        virtual.stop()


def _answer(function: Any) -> Any:
    """Return a case's result in JSON's types. Each case begins with nothing allocated and nothing queued."""
    try:
        _clean()
        return json.loads(json.dumps(function()))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        first = str(error).strip().splitlines()[:1]
        return {"raised": type(error).__name__, "said": first[0][:200] if first else ""}


def _clean() -> None:
    import torch

    gc.collect()
    torch.cuda.synchronize()
    clear = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
    if clear is not None:
        clear()
    torch.cuda.empty_cache()
    torch._C._host_emptyCache()
    torch.cuda.reset_accumulated_memory_stats()
    torch.cuda.reset_peak_memory_stats()


@app.command()
def compare(truth: Path, other: Path) -> None:
    """Print each case whose result differs; exit 1 where there is one."""
    expected = msgspec.json.decode(truth.read_bytes(), type=Answers)
    found = msgspec.json.decode(other.read_bytes(), type=Answers)
    shared = [name for name in expected.cases if name in found.cases]
    apart = [name for name in shared if not _same(expected.cases[name], found.cases[name])]
    for name in apart:
        typer.echo(f"{name}:\n    there {_shown(expected.cases[name])}\n    here  {_shown(found.cases[name])}")
    for name in sorted(expected.cases.keys() ^ found.cases.keys()):
        typer.echo(f"not compared: {name}")
    typer.echo(
        f"\n{expected.device} torch {expected.torch} against {found.device} torch {found.torch}: "
        f"{len(shared) - len(apart)} of {len(shared)} cases agree"
    )
    raise typer.Exit(1 if apart else 0)


def _same(one: Any, other: Any) -> bool:
    """Return whether two results agree; errors agree when their types do, whatever their words."""
    if isinstance(one, dict) and isinstance(other, dict):
        return bool(one["raised"] == other["raised"])
    return bool(one == other)


def _shown(answer: Any) -> str:
    return json.dumps(answer)


if __name__ == "__main__":
    app()
