"""Measures how soon and how fluently each library draws 50,000 events; docs/adr/0007 chose by these figures.

    python benchmarks/timeline_libraries.py [LIBRARY ...]

Takes each library from the npm registry (`npm pack`), draws the same events in headless Chromium, then zooms in and out
in forty steps. Prints, in ms: until the first frame is done, the mean and the worst step of the zoom.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from playwright.sync_api import sync_playwright

EVENTS = 50_000
LIMIT_MS = 300_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A library, and the script that draws with it; `zoom(part)` shows the middle `part` of the time."""

    package: str
    file: str
    script: str


CANDIDATES = {
    "d3-zoom": Candidate(
        "d3@7",
        "dist/d3.min.js",
        """
        const canvas = document.createElement("canvas");
        canvas.width = 1240; canvas.height = 400; box.append(canvas);
        const pen = canvas.getContext("2d"), x = d3.scaleLinear([0, END], [0, 1240]);
        const draw = (scale) => {
          pen.clearRect(0, 0, 1240, 400);
          const [from, to] = scale.domain(), pixels = 1240 / (to - from);
          for (const e of events) if (e.end >= from && e.start <= to) {
            pen.fillStyle = COLOURS[e.kind];
            pen.fillRect((e.start - from) * pixels, e.lane * 60, Math.max(1, (e.end - e.start) * pixels), 56);
          }
          for (const tick of scale.ticks(8)) pen.fillText(tick, scale(tick), 395);
        };
        const moved = d3.zoom().on("zoom", (event) => draw(event.transform.rescaleX(x)));
        const surface = d3.select(canvas).call(moved);
        draw(x);
        window.zoom = (part) => {
          surface.call(moved.transform, d3.zoomIdentity.translate(620, 0).scale(1 / part).translate(-620, 0));
        };
        """,
    ),
    "uPlot": Candidate(
        "uplot@1",
        "dist/uPlot.iife.min.js",
        """
        const draw = (u) => {
          const { min, max } = u.scales.x, pixels = u.bbox.width / (max - min), lane = u.bbox.height / LANES;
          for (const e of events) if (e.end >= min && e.start <= max) {
            u.ctx.fillStyle = COLOURS[e.kind];
            const width = Math.max(1, (e.end - e.start) * pixels);
            u.ctx.fillRect(u.bbox.left + (e.start - min) * pixels, u.bbox.top + e.lane * lane, width, lane - 2);
          }
        };
        const plot = new uPlot({
          width: 1240, height: 400, legend: { show: false }, axes: [{}, { show: false }], hooks: { draw: [draw] },
          scales: { x: { time: false, min: 0, max: END }, y: { range: [0, LANES] } },
          series: [{}, { paths: () => null, points: { show: false } }],
        }, [[0, END], [0, 0]], box);
        window.zoom = (part) => plot.setScale("x", { min: (END / 2) * (1 - part), max: (END / 2) * (1 + part) });
        """,
    ),
    "ECharts": Candidate(
        "echarts@6",
        "dist/echarts.min.js",
        """
        const chart = echarts.init(box, null, { width: 1240, height: 400 });
        const renderItem = (params, api) => {
          const from = api.coord([api.value(1), api.value(0)]), to = api.coord([api.value(2), api.value(0)]);
          const shape = { x: from[0], y: from[1] - 28, width: Math.max(1, to[0] - from[0]), height: 56 };
          return { type: "rect", shape, style: { fill: COLOURS[api.value(3)] } };
        };
        chart.setOption({
          animation: false, xAxis: { type: "value", min: 0, max: END },
          yAxis: { type: "category", data: [...Array(LANES).keys()] },
          dataZoom: [{ type: "inside", filterMode: "weakFilter" }],
          series: [{ type: "custom", clip: true, renderItem, encode: { x: [1, 2], y: 0 },
                     data: events.map((e) => [e.lane, e.start, e.end, e.kind]) }],
        });
        window.zoom = (part) => {
          const [startValue, endValue] = [(END / 2) * (1 - part), (END / 2) * (1 + part)];
          chart.dispatchAction({ type: "dataZoom", startValue, endValue });
        };
        """,
    ),
    "flame-chart-js": Candidate(
        "flame-chart-js@3",
        "dist/index.min.js",
        """
        const library = window.flameChartJs || window["flame-chart-js"] || window.FlameChartJs;
        const canvas = document.createElement("canvas");
        canvas.width = 1240; canvas.height = 400; box.append(canvas);
        const plugins = [new library.TimeGridPlugin()];
        for (let lane = 0; lane < LANES; lane++) {
          const data = events.filter((e) => e.lane === lane)
            .map((e) => ({ name: "k", start: e.start, duration: e.end - e.start, type: `${e.kind}`, children: [] }));
          plugins.push(new library.TogglePlugin(`${lane}`), new library.FlameChartPlugin({ name: `${lane}`, data }));
        }
        const chart = new library.FlameChartContainer({ canvas, plugins, settings: {} });
        window.zoom = (part) => chart.setZoom((END / 2) * (1 - part), (END / 2) * (1 + part));
        """,
    ),
    "vis-timeline": Candidate(
        "vis-timeline@8",
        "standalone/umd/vis-timeline-graph2d.min.js",
        """
        const items = events.map((e, id) => ({ id, group: e.lane, start: e.start, end: e.end, content: "" }));
        const groups = [...Array(LANES).keys()].map((id) => ({ id, content: `${id}` }));
        const options = { stack: false, width: "1240px", height: "400px", start: 0, end: END };
        const timeline = new vis.Timeline(box, new vis.DataSet(items), groups, options);
        window.zoom = (part) => {
          timeline.setWindow((END / 2) * (1 - part), (END / 2) * (1 + part), { animation: false });
        };
        """,
    ),
}

_EVENTS = """
const LANES = 6, COLOURS = ["#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#999"], events = [];
let seed = 7;
const random = () => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff;
for (let lane = 0; lane < LANES; lane++) {
  for (let i = 0, now = 0; i < COUNT / LANES; i++) {
    const start = now + random() * 6, end = start + 2 + random() * 20;
    events.push({ lane, start, end, kind: i % COLOURS.length });
    now = end;
  }
}
const END = Math.max(...events.map((e) => e.end)), box = document.getElementById("box");
const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
"""
_TIMED = """async () => {
  const begun = performance.now();
  SCRIPT
  await frame();
  const first = performance.now() - begun, taken = [];
  for (let i = 0; i < 40; i++) {
    const start = performance.now();
    window.zoom(0.9 ** (i < 20 ? i : 40 - i));
    await frame();
    taken.push(performance.now() - start);
  }
  return [first, taken.reduce((a, b) => a + b) / taken.length, Math.max(...taken)];
}"""


def main(
    libraries: Annotated[
        Optional[list[str]],  # noqa: UP045  # typer evaluates this on Python 3.10
        typer.Argument(help=f"Any of {', '.join(CANDIDATES)}.", show_default="all"),
    ] = None,
    count: Annotated[int, typer.Option("--events", min=1)] = EVENTS,
) -> None:
    """Draw the same events with each library."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium)
        for name in libraries or CANDIDATES:
            source = fetched(CANDIDATES[name])
            first, mean, worst = measured(browser, source, CANDIDATES[name].script, count)
            size = len(source.encode()) / 1024
            typer.echo(
                f"{name}: {size:,.0f} KiB; {count:,} events: first {first:,.0f}, zoom {mean:.0f}, worst {worst:.0f}"
            )
        browser.close()


def fetched(candidate: Candidate) -> str:
    """Return the library's script from the npm registry."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["npm", "pack", candidate.package, "--silent"], check=True, cwd=folder, stdout=subprocess.DEVNULL
        )
        (packed,) = Path(folder).glob("*.tgz")
        with tarfile.open(packed) as archive:
            member = archive.extractfile(f"package/{candidate.file}")
            assert member is not None
            return member.read().decode()


def measured(browser: Any, source: str, script: str, count: int) -> tuple[float, float, float]:
    """Return the time until the first frame, and the mean and the worst step of the zoom, in ms."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(LIMIT_MS)
    page.set_content('<div id="box" style="width: 1240px; height: 400px"></div>')
    page.add_script_tag(content=source)
    page.add_script_tag(content=_EVENTS.replace("COUNT", str(count)))
    first, mean, worst = page.evaluate(_TIMED.replace("SCRIPT", script))
    page.close()
    return first, mean, worst


if __name__ == "__main__":
    typer.run(main)
