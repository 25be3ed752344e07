"""Checks that the table of blocking operators covers every place of torch's sources that waits, copies or allocates.

    python benchmarks/inventory.py TORCH [--torchvision FOLDER] [--torchaudio FOLDER]

Reads a checkout of torch (and of the others, where given), without building it. A place in a CUDA kernel needs a row of
the table for each operator whose kernel gets there, or a reviewed reason (`benchmarks/data/inventory_reasons.toml`).
An operator that torch composes of others needs neither: the others go through the dispatcher, where their own rows
apply. Writes `benchmarks/results/inventory.json`; exits 1 where a place has neither row nor reason, or a reason fits no
place.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import msgspec
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.sources.cover import Entry, Reasons, cover  # noqa: E402
from benchmarks.sources.cpp import Source, read_source  # noqa: E402
from benchmarks.sources.operators import Graph, Operators  # noqa: E402
from benchmarks.sources.python import PythonPlaces, read_python  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "inventory.json"
_ENDINGS = {".cpp", ".cu", ".cuh", ".h", ".hpp"}
_TORCH = ("aten/src/ATen", "torch/csrc", "c10/cuda")
_OTHER_DEVICES = {
    *("cpu", "hip", "metal", "miopen", "mkl", "mkldnn", "mps", "mtia", "nnapi", "vulkan", "xnnpack", "xpu"),
    *("kleidiai", "ao_sparse", "test", "benchmarks"),
}
"""Folders of sources for other devices than CUDA, and of tests; they are not searched."""


class PythonFile(msgspec.Struct, frozen=True):
    """The places in one Python file, by function."""

    file: str
    functions: dict[str, dict[str, tuple[int, ...]]]
    """From each function to its patterns, and from each pattern to its lines."""


class Inventory(msgspec.Struct, frozen=True):
    """Every place that was found, and what covers it."""

    versions: dict[str, str]
    counts: dict[str, int]
    """From each way to be covered to the number of places."""
    folders: dict[str, int]
    python_counts: dict[str, int]
    """From each pattern to its places in Python, which need no row: the operators that they call have rows."""
    places: tuple[Entry, ...]
    python: tuple[PythonFile, ...]


def main(
    torch: Annotated[Path, typer.Argument(help="A checkout of pytorch.")],
    torchvision: Annotated[Path | None, typer.Option(help="A checkout of torchvision.")] = None,
    torchaudio: Annotated[Path | None, typer.Option(help="A checkout of torchaudio.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output")] = RESULT,
) -> None:
    """Find every place, say what covers it, and write the inventory."""
    reasons = Reasons.load()
    packages: list[tuple[str, Path, tuple[str, ...], str]] = [("torch", torch, _TORCH, "torch")]
    if torchvision:
        packages.append(("torchvision", torchvision, ("torchvision/csrc",), "torchvision"))
    if torchaudio:
        packages.append(("torchaudio", torchaudio, ("src/libtorchaudio",), "src/torchaudio"))
    entries: list[Entry] = []
    python: list[PythonPlaces] = []
    native = torch / "aten/src/ATen/native/native_functions.yaml"
    for name, root, folders, package in packages:
        sources = [read_source(path, root) for folder in folders for path in _files(root, folder)]
        graph = _graph(sources, native)
        entries += [cover(name, place, graph, reasons) for source in sources for place in source.places]
        python += [each for path in sorted((root / package).rglob("*.py")) for each in read_python(path, root)]
    versions = {name: (root / "version.txt").read_text().strip() for name, root, _, _ in packages}
    inventory = _inventory(versions, entries, python)
    output.write_bytes(msgspec.json.format(msgspec.json.encode(inventory), indent=1) + b"\n")
    _print_summary(inventory, reasons, {name for name, *_ in packages})


def _files(root: Path, folder: str) -> list[Path]:
    found = (path for path in (root / folder).rglob("*") if path.suffix in _ENDINGS)
    return sorted(path for path in found if not _OTHER_DEVICES & set(path.relative_to(root).parts[:-1]))


def _graph(sources: list[Source], native: Path) -> Graph:
    operators = Operators(native)
    for source in sources:
        for operator, function, key in source.registered:
            operators.register(operator, function, cuda="CUDA" in key)
    # torch/csrc is left out: it calls operators through the dispatcher, and its helpers share names with kernels.
    return Graph([each for each in sources if not each.file.startswith("torch/csrc")], operators)


def _inventory(versions: dict[str, str], entries: list[Entry], python: list[PythonPlaces]) -> Inventory:
    files: dict[str, dict[str, dict[str, tuple[int, ...]]]] = {}
    for each in python:
        files.setdefault(each.file, {}).setdefault(each.function, {})[each.pattern] = each.lines
    python_counts: Counter[str] = Counter()
    for each in python:
        python_counts[each.pattern] += len(each.lines)
    return Inventory(
        versions,
        dict(sorted(Counter(entry.covered for entry in entries).items())),
        dict(sorted(Counter(_folder(entry.file) for entry in entries).items())),
        dict(sorted(python_counts.items())),
        tuple(sorted(entries, key=lambda entry: (entry.file, entry.line, entry.pattern))),
        tuple(PythonFile(file, functions) for file, functions in sorted(files.items())),
    )


def _folder(file: str) -> str:
    parts = file.split("/")[:-1]
    return "/".join(parts[3:6] if parts[0] == "aten" else parts[:3]) or "."


def _print_summary(inventory: Inventory, reasons: Reasons, scanned: set[str]) -> None:
    typer.echo(f"{len(inventory.places)} places in C++ and CUDA: {inventory.counts}")
    typer.echo(f"{sum(inventory.python_counts.values())} places in Python")
    bare = [entry for entry in inventory.places if entry.covered == "nothing"]
    for entry in bare:
        who = ", ".join(entry.operators) or "no operator"
        typer.echo(f"neither row nor reason: {entry.key} (line {entry.line}; {who})")
    idle = [each for each in reasons.unused() if _package(each) in scanned]
    for glob in idle:
        typer.echo(f"a reason without a place: {glob}")
    raise typer.Exit(1 if bare or idle else 0)


_PREFIXES = {"torchvision": "torchvision", "src": "torchaudio"}


def _package(glob: str) -> str:
    return _PREFIXES.get(glob.partition("/")[0], "torch")


if __name__ == "__main__":
    typer.run(main)
