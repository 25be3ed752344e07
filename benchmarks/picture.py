"""Draws the README's picture with Chromium, light and dark: the timeline of a run.

    python benchmarks/picture.py                    draw it anew, from a run on the virtual device
    python benchmarks/picture.py --session run.json draw another run
    python benchmarks/picture.py --check            change nothing; exit 1 where the picture shows another run

A text file beside the pictures holds what they show, as the terminal report says it. So a stale picture is found
without comparing pixels, which differ from one Chromium to the next.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import typer
from playwright.sync_api import sync_playwright

from syncwatch.model.session import Session
from syncwatch.pipeline import analysed, rendered, report_of
from syncwatch.report.formats import Format

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
RUN = ("run", "gdn-prefill", "--device", "virtual", "--preset", "tiny", "--steps", "3", "--cache-miss")
THEMES: tuple[tuple[Literal["light", "dark"], str], ...] = (("light", "timeline.png"), ("dark", "timeline-dark.png"))
WIDTH = 1040
MAX_BYTES = 300_000


def main(
    session: Annotated[
        Optional[Path],  # noqa: UP045  # typer evaluates this on Python 3.10
        typer.Option(help="What syncwatch run -o wrote.", show_default="a run on the virtual device"),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 where it shows another run.")] = False,
) -> None:
    """Draw the timeline."""
    drawn = Session.load(session) if session is not None else recorded()
    said = target_words(drawn)
    beside = PICTURES / "timeline.txt"
    if check:
        stale = not beside.exists() or beside.read_text(encoding="utf-8") != said
        if stale:
            typer.echo("docs/pictures shows another run. Run `make picture`.")
        raise typer.Exit(1 if stale else 0)
    draw(rendered(Format.HTML, report_of(drawn), analysis=analysed(drawn)))
    beside.write_text(said, encoding="utf-8")


def recorded() -> Session:
    """Return a run on the virtual device, which is the same on every machine."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        command = [sys.executable, "-m", "syncwatch", *RUN, "-o", str(path), "--format", f"json={folder}/report.json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        return Session.load(path)


def target_words(session: Session) -> str:
    """Return what the picture shows, without the versions that it was recorded with."""
    versions = replace(session.environment, torch="", triton=None, driver=None, python="", syncwatch="")
    lines = rendered(Format.TERMINAL, report_of(replace(session, environment=versions))).splitlines()
    return "\n".join(line for line in lines if not line.startswith("torch ")) + "\n"


def draw(html: str) -> None:
    """Write both pictures."""
    PICTURES.mkdir(exist_ok=True)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        page_file = Path(folder) / "report.html"
        page_file.write_text(html, encoding="utf-8")
        browser = driver.chromium.launch(executable_path=chromium)
        for theme, name in THEMES:
            context = browser.new_context(
                viewport={"width": WIDTH, "height": 1200}, color_scheme=theme, device_scale_factor=2
            )
            page = context.new_page()
            page.goto(page_file.as_uri())
            page.screenshot(path=PICTURES / name, clip=area(page), full_page=True)
            size = (PICTURES / name).stat().st_size
            typer.echo(f"docs/pictures/{name}: {size:,} B")
            if size > MAX_BYTES:
                raise typer.BadParameter(f"docs/pictures/{name} is larger than {MAX_BYTES:,} B. Draw a smaller run.")
        browser.close()


def area(page: Any) -> Any:
    """Return where the timeline and its legend stand on the page, in CSS pixels."""
    timeline = page.locator("#timeline").bounding_box()
    legend = page.locator("#timeline + .legend").bounding_box()
    bottom = legend["y"] + legend["height"]
    return {
        "x": timeline["x"] - 8,
        "y": timeline["y"] - 8,
        "width": timeline["width"] + 16,
        "height": bottom - timeline["y"] + 16,
    }


if __name__ == "__main__":
    typer.run(main)
