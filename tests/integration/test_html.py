"""The page in a real browser: `make test-html`. Skipped where Playwright or Chromium is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from syncwatch.model.session import Session
from syncwatch.pipeline import analysed, rendered, report_of
from syncwatch.report.formats import Format
from tests.helpers.command import ROOT
from tests.helpers.fakes import gdn_session
from tests.helpers.hostile import NASTY
from tests.helpers.pages import WAIT_NS, busy_session, hostile_session, modelled_session

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: `make test-html`")

pytestmark = pytest.mark.browser

DRAWN_WITHIN_MS = 2_000
FLUENT_MS = 250
"""A bound that a busy machine keeps too; on an idle one a frame takes about 20 ms."""


@dataclass
class Opened:
    """A page, and everything that should not have happened in it."""

    page: Any
    said: list[str] = field(default_factory=list)
    """Console messages, uncaught errors and dialogs."""
    asked: list[str] = field(default_factory=list)
    """Requests beside the file itself."""

    @property
    def detail(self) -> str:
        return str(self.page.inner_text("#detail"))

    @property
    def domain(self) -> tuple[float, float]:
        """Return the nanoseconds in view, once what was asked for is drawn."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        data = self.page.evaluate("({...document.getElementById('timeline').dataset})")
        return float(data["from"]), float(data["to"])

    def place(self, time_ns: float) -> float:
        """Return where in the window a moment is drawn, in pixels from the left."""
        box: dict[str, float] = self.page.locator("#timeline").bounding_box()
        low, high = self.domain
        gutter = float(self.page.get_attribute("#timeline", "data-gutter"))
        width = float(self.page.evaluate("document.getElementById('timeline').clientWidth")) - gutter
        return box["x"] + 1 + gutter + (time_ns - low) / (high - low) * width

    def hover(self, time_ns: float, wanted: str) -> bool:
        """Move down the timeline at a moment until the pointer's tip says `wanted`; return whether it did."""
        self.page.locator("#timeline").scroll_into_view_if_needed()
        x, box = self.place(time_ns), self.page.locator("#timeline").bounding_box()
        for y in range(int(box["y"]) + 4, int(box["y"] + box["height"]), 6):
            self.page.mouse.move(x, y)
            tip = self.page.locator("#tip")
            if tip.is_visible() and wanted in tip.inner_text():
                return True
        return False


Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with playwright.sync_playwright() as driver:
        try:
            chromium = driver.chromium.launch(executable_path=found)
        except playwright.Error as error:
            pytest.skip(f"needs Chromium: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Open]:
    contexts: list[Any] = []

    def open_page(known: Session, *, width: int = 1280, theme: str = "light") -> Opened:
        file = tmp_path / f"report-{len(contexts)}.html"
        html = rendered(Format.HTML, report_of(known), analysis=analysed(known))
        file.write_bytes(html.encode("utf-8", errors="replace"))
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        contexts.append(context)
        shown = Opened(context.new_page())
        shown.page.on("console", lambda message: shown.said.append(message.text))
        shown.page.on("pageerror", lambda error: shown.said.append(str(error)))
        shown.page.on("dialog", lambda dialog: shown.said.append(dialog.message))
        shown.page.on("request", lambda request: shown.asked.append(request.url))
        shown.page.goto(file.as_uri())
        assert shown.asked.pop(0) == file.as_uri()
        return shown

    yield open_page
    for context in contexts:
        context.close()


def small() -> Session:
    return busy_session(steps=3, kernels=40, waits=2)


def first_wait(known: Session) -> float:
    """Return the middle of the first measured wait of the naive variant, on the timeline's clock."""
    naive = known.recordings[0]
    first = next(step for step in naive.steps if not step.warmup)
    start = next(each.start_ns for each in naive.syncs if each.step == first.index and each.start_ns is not None)
    return start - first.start_ns + WAIT_NS / 2


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_opens_in_silence_and_asks_for_nothing(opened: Open, width: int, theme: str) -> None:
    for known in (small(), gdn_session(), modelled_session()):
        shown = opened(known, width=width, theme=theme)

        assert shown.domain[0] < 0 < shown.domain[1]
        assert not shown.said and not shown.asked
        assert shown.page.evaluate("document.documentElement.scrollWidth") == width
        assert painted(shown)


def painted(shown: Opened) -> bool:
    """Return whether the canvas has more than a few colours."""
    return bool(
        shown.page.evaluate(
            "() => { const canvas = document.querySelector('canvas');"
            "const pixels = new Uint32Array(canvas.getContext('2d')"
            ".getImageData(0, 0, canvas.width, canvas.height).data.buffer);"
            "return new Set(pixels).size > 8; }"
        )
    )


def test_a_window_that_has_no_width_yet_loses_nothing(opened: Open, tmp_path: Path) -> None:
    shown = opened(small())
    start = shown.domain
    outer = tmp_path / "outer.html"
    outer.write_text(f'<iframe src="{shown.page.url}" style="width: 0; height: 800px; border: 0"></iframe>')
    shown.page.goto(outer.as_uri())
    shown.page.evaluate("document.querySelector('iframe').style.width = '900px'")
    frame = shown.page.frames[1]
    frame.wait_for_function("document.querySelector('canvas').width > 500")

    data = frame.evaluate("({...document.getElementById('timeline').dataset})")
    assert (float(data["from"]), float(data["to"])) == pytest.approx(start)


def test_one_measured_step_is_in_view_at_first(opened: Open) -> None:
    known = small()
    low, high = opened(known).domain
    first = next(step for step in known.recordings[0].steps if not step.warmup)
    length = first.end_ns - first.start_ns

    assert -0.1 * length < low < 0 and length < high < 1.1 * length


@pytest.mark.parametrize("width", [1280, 390])
def test_a_click_on_a_sync_shows_its_line_cause_price_and_fix(opened: Open, width: int) -> None:
    known = small()
    shown = opened(known, width=width)
    report = report_of(known)
    site = report.sites[0]

    assert shown.hover(first_wait(known), site.code)
    shown.page.mouse.down()
    shown.page.mouse.up()

    for said in (f"{site.file}:{site.line} in {site.function}", site.source, site.code, site.title, site.hint):
        assert said in shown.detail
    assert "host blocked\n9.00 µs" in shown.detail
    assert shown.page.inner_text("#detail mark") == site.expression


def test_a_click_on_a_kernel_names_it(opened: Open) -> None:
    known = small()
    shown = opened(known)
    naive = known.recordings[0]
    first = next(step for step in naive.steps if not step.warmup)
    assert naive.kernels is not None
    ran = next(each for each in naive.kernels if each.start_ns >= first.start_ns)

    assert shown.hover((ran.start_ns + ran.end_ns) / 2 - first.start_ns, ran.name)
    shown.page.mouse.down()
    shown.page.mouse.up()

    assert ran.name in shown.detail and "4.00 µs" in shown.detail


def test_keys_move_zoom_and_select(opened: Open) -> None:
    shown = opened(small())
    press = shown.page.keyboard.press
    start = shown.domain
    while shown.page.evaluate("document.activeElement.id") != "timeline":
        press("Tab")

    press("+")
    zoomed = shown.domain
    assert zoomed[1] - zoomed[0] < start[1] - start[0]
    press("ArrowRight")
    assert shown.domain[0] > zoomed[0]
    press("a")
    assert shown.domain[1] - shown.domain[0] > start[1] - start[0]
    press("0")
    assert shown.domain == pytest.approx(start)
    press("n")
    first = shown.detail
    assert "app/index.py:156" in first
    press("n")
    assert shown.detail != first
    press("p")
    assert shown.detail == first


def test_the_wheel_scrolls_the_page_until_the_timeline_has_the_focus(opened: Open) -> None:
    shown = opened(small())
    box = shown.page.locator("#timeline").bounding_box()
    shown.page.mouse.move(box["x"] + 600, box["y"] + 20)
    start = shown.domain

    shown.page.mouse.wheel(0, -240)
    assert shown.domain == start
    shown.page.locator("#timeline").focus()
    shown.page.mouse.wheel(0, -240)
    assert shown.domain[1] - shown.domain[0] < start[1] - start[0]


def test_dragging_pans(opened: Open) -> None:
    shown = opened(small())
    shown.page.locator("#timeline").scroll_into_view_if_needed()
    box = shown.page.locator("#timeline").bounding_box()
    low, high = shown.domain

    shown.page.mouse.move(box["x"] + 700, box["y"] + 12)
    shown.page.mouse.down()
    shown.page.mouse.move(box["x"] + 500, box["y"] + 12, steps=4)
    shown.page.mouse.up()

    assert shown.domain[0] > low
    assert shown.domain[1] - shown.domain[0] == pytest.approx(high - low)


def test_the_line_in_the_table_leads_to_its_first_wait(opened: Open) -> None:
    known = small()
    shown = opened(known)
    shown.page.click("#sites .goto")

    low, high = shown.domain
    assert low < first_wait(known) < high
    assert high - low < 30 * WAIT_NS
    assert "app/index.py:156" in shown.detail
    assert shown.page.evaluate("document.activeElement.id") == "timeline"


def test_the_list_of_waits_selects_too(opened: Open) -> None:
    shown = opened(small())
    shown.page.click("#waits summary")
    shown.page.locator("#waits .goto").nth(1).click()

    assert "app/index.py:156" in shown.detail


def test_a_heading_sorts_by_pointer_and_by_key(opened: Open) -> None:
    shown = opened(gdn_session())
    heading = shown.page.locator("#sites th", has_text="calls a step").first

    def column() -> list[float]:
        cells = shown.page.locator("#sites tbody td:nth-child(5)")
        return [float(cell.get_attribute("data-sort")) for cell in cells.all()]

    assert len(set(column())) > 1
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert column() == sorted(column(), reverse=True)
    heading.locator("button").focus()
    shown.page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column() == sorted(column())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_theme_follows_the_system_until_it_is_asked_for(opened: Open, theme: str) -> None:
    shown = opened(small(), theme=theme)

    def ground() -> int:
        return int(shown.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]"))

    def corner() -> int:
        canvas = "document.querySelector('canvas')"
        return int(shown.page.evaluate(f"{canvas}.getContext('2d').getImageData(2, 2, 1, 1).data[0]"))

    was_light = ground() > 128
    assert was_light is (theme == "light")
    assert corner() == ground()
    shown.page.click("#theme")
    assert (ground() > 128) is not was_light
    assert corner() == ground()
    assert shown.page.get_attribute("#theme", "aria-pressed") == str(was_light).lower()


def test_paper_is_light_and_has_no_buttons(opened: Open) -> None:
    shown = opened(small(), theme="dark")
    shown.page.emulate_media(media="print")
    shown.page.evaluate("dispatchEvent(new Event('beforeprint'))")

    assert shown.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not shown.page.locator(".controls").is_visible()
    shown.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert shown.page.evaluate("document.documentElement.dataset.theme") is None


def test_hostile_names_do_nothing(opened: Open) -> None:
    names = (*NASTY, "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "__proto__")
    # What HTML or JavaScript could take for its own stands everywhere; the rest shares pages, each name in one place.
    marked = [name for name in names if len(name) < 100 and set(name) & set('<>&"`_')]
    rest = [name for name in names if name not in marked]
    pages = [[name] * 9 for name in marked] + [(rest[at:] + rest)[:9] for at in range(0, len(rest), 9)]
    for page in pages:
        shown = opened(hostile_session(page))
        shown.page.locator("#timeline").focus()
        shown.page.keyboard.press("n")

        assert "SW" in shown.detail
        assert not shown.said and not shown.asked, page
        assert shown.page.locator("img, main script").count() == 0


def test_a_trace_without_waits_or_steps_opens(opened: Open) -> None:
    known = small()
    bare = tuple(replace(each, syncs=(), steps=(), ranges=()) for each in known.recordings[:1])
    shown = opened(replace(known, recordings=bare))
    shown.page.locator("#timeline").focus()
    shown.page.keyboard.press("n")

    assert not shown.said
    assert painted(shown)


def test_the_picture_of_the_readme_shows_todays_run() -> None:
    command = [sys.executable, "benchmarks/picture.py", "--check"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert made.returncode == 0, made.stdout + made.stderr


@pytest.mark.skipif("SYNCWATCH_TIMED" not in os.environ, reason="a measurement: `make test-html`")
def test_fifty_thousand_events_draw_within_two_seconds_and_stay_fluent(opened: Open) -> None:
    known = busy_session(steps=12, kernels=1_035, waits=10)
    events = sum(2 * len(each.kernels or ()) + len(each.copies or ()) + len(each.syncs) for each in known.recordings)
    assert 49_000 < events <= 50_000
    shown = opened(known)
    shown.page.click("[data-act=all]")
    drawn = shown.page.evaluate("performance.getEntriesByName('syncwatch:draw')[0].duration")
    painted_at = shown.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    frames = shown.page.evaluate(
        """async () => {
          const taken = [];
          for (const act of [...Array(6).fill("in"), "left", "right", ...Array(6).fill("out")]) {
            const start = performance.now();
            document.querySelector(`[data-act=${act}]`).click();
            await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
            taken.push(performance.now() - start);
          }
          return taken;
        }"""
    )
    print(f"{events} events: script {drawn:.0f} ms, first paint {painted_at:.0f} ms, frames up to {max(frames):.0f} ms")

    assert max(drawn, painted_at) < DRAWN_WITHIN_MS
    assert max(frames) < FLUENT_MS


@pytest.mark.parametrize("width", [1280, 390])
def test_a_switch_draws_the_steps_without_a_line_under_the_steps_as_they_were(opened: Open, width: int) -> None:
    shown = opened(gdn_session(), width=width)
    height = "document.querySelector('#timeline canvas').clientHeight"
    before = shown.page.evaluate(height)
    first, second = (shown.page.locator("#sites .switch").nth(number) for number in range(2))

    first.click()
    assert first.get_attribute("aria-pressed") == "true"
    assert shown.page.evaluate(height) > before + 100
    assert "Below naive: 3 steps without gdn_prefill.py:120: 10.5 ms instead of 12.0 ms" in shown.detail
    assert shown.domain[0] < 0 and shown.domain[1] > 12_000_000
    assert shown.hover(1_800_000, "gemm")

    second.click()
    assert (first.get_attribute("aria-pressed"), second.get_attribute("aria-pressed")) == ("false", "true")
    assert "3 steps without index.py:41" in shown.detail
    second.click()
    assert second.get_attribute("aria-pressed") == "false"
    assert shown.page.evaluate(height) == before and "naive as it was." in shown.detail
    assert shown.page.evaluate("document.documentElement.scrollWidth") == width
    assert not shown.said and not shown.asked
