"""Rewrites the figures in README.md and docs/ that no longer say what the results say.

    python benchmarks/readme.py             rewrite them
    python benchmarks/readme.py --check     change nothing; exit 1 where something would change

A figure stands between `<!-- figures:NAME -->` and `<!-- end -->`; `readme_scenarios.py` and `readme_costs.py` make it
from the files in `benchmarks/results/`. A block whose results are missing, or have a form that this version no longer
reads, is left as it is, and named.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import readme_costs, readme_scenarios  # noqa: E402
from benchmarks.readme_results import NotRecordedError, Results  # noqa: E402

BLOCKS = readme_scenarios.BLOCKS | readme_costs.BLOCKS
_BLOCK = re.compile(r"(<!-- figures:([\w-]+) -->)(.*?)(<!-- end -->)", re.DOTALL)


def main(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 where something would change.")
    ] = False,
    results: Annotated[Path, typer.Option(help="The folder of the results.")] = ROOT / "benchmarks" / "results",
) -> None:
    """Rewrite every block whose results are there."""
    found = Results(results)
    stale = 0
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = _BLOCK.sub(partial(_rewritten, page=page, results=found), before)
        if after != before:
            stale += 1
            typer.echo(f"{page.relative_to(ROOT)}: {'differs from the results' if check else 'rewritten'}")
            if not check:
                page.write_text(after, encoding="utf-8")
    raise typer.Exit(1 if check and stale else 0)


def pages() -> Iterator[Path]:
    """Yield every page that may have blocks."""
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def _rewritten(block: re.Match[str], page: Path, results: Results) -> str:
    opening, name, old, closing = block.groups()
    where = f"{page.relative_to(ROOT)}, figures:{name}"
    if name not in BLOCKS:
        raise typer.BadParameter(f"{where}: there is no such block. There are: {', '.join(BLOCKS)}.")
    try:
        made = BLOCKS[name](results)
    except NotRecordedError as error:
        typer.echo(f"{where}: left as it is. {error}", err=True)
        return block.group()
    # A block on lines of its own keeps them; within a line or a table's cell there can be no line breaks.
    return f"{opening}\n{made}\n{closing}" if "\n" in old else f"{opening}{made}{closing}"


if __name__ == "__main__":
    typer.run(main)
