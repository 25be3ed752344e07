"""The HTML report: it loads nothing from elsewhere, shows every figure, and no name in it becomes markup."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import syncwatch.report.html as package
from syncwatch.judge.gate import judge
from syncwatch.model.events import KernelEvent
from syncwatch.model.report import Report
from syncwatch.model.session import Line, RecordedBy, Replay, Session
from syncwatch.model.verdict import Policy, Verdict
from syncwatch.pipeline import analysed, rendered, report_of
from syncwatch.report import text
from syncwatch.report.formats import Format
from syncwatch.report.html.reporter import MAX_RECORDINGS, HtmlReporter
from syncwatch.report.html.rows import site_rows
from syncwatch.report.html.thinning import thin_out
from tests.helpers.fakes import MS, US, Stacks, frame, gdn_session, kernel, recording, session, steps, sync
from tests.helpers.hostile import NAMES
from tests.helpers.pages import Page, hostile_session, modelled_session

HERE = Path(package.__file__).parent


def page_of(known: Session, verdict: Verdict | None = None) -> Page:
    return Page(rendered(Format.HTML, report_of(known), verdict, analysis=analysed(known)))


def test_the_page_ends_in_a_newline_and_begins_as_html() -> None:
    html = HtmlReporter().render(report_of(gdn_session()))

    assert html.startswith("<!DOCTYPE html>\n") and html.endswith("\n")


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = page_of(gdn_session())

    links = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert links == ["#main"]
    assert {tag for tag, _ in page.tags}.isdisjoint({"link", "img", "iframe", "object", "embed", "base", "form"})
    assert not re.findall(r"@import|url\((?!#)", "".join(page.raw["style"]))
    own = "".join(path.read_text() for path in (HERE / "js").glob("*.js"))
    assert not re.findall(r"fetch\(|XMLHttpRequest|WebSocket|import\(|eval\(|innerHTML|https?:", own)


def test_the_policy_lets_run_what_is_in_the_page_and_nothing_else() -> None:
    page = page_of(gdn_session())
    policy = next(
        attributes["content"]
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None

    def hashed(content: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"

    (style,) = page.raw["style"]
    (script,) = (content for content in page.raw["script"] if not content.startswith("{"))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == hashed(script)
    assert rules["style-src"] == hashed(style)
    assert "unsafe" not in policy
    assert not [attributes for _, attributes in page.tags if "style" in attributes]


def test_the_library_is_as_the_registry_has_it_and_licensed_in_the_page() -> None:
    listed = re.findall(
        r"^\| (d3-\w+) \| ([\d.]+) \| .* \| `(\w{64})` \|$", (HERE / "vendor/README.md").read_text(), re.M
    )
    files = {path.name for path in (HERE / "vendor").glob("*.js")}

    assert {f"{name}.min.js" for name, _, _ in listed} == files
    for name, version, digest in listed:
        content = (HERE / "vendor" / f"{name}.min.js").read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
        assert f"{name}/ v{version} ".encode() in content[:100]
    (script,) = (content for content in page_of(gdn_session()).raw["script"] if not content.startswith("{"))
    assert "Permission to use, copy, modify, and/or distribute this software" in script
    assert "Redistributions in binary form must reproduce the above copyright notice" in script


def test_every_figure_of_the_report_stands_in_the_page() -> None:
    report = report_of(gdn_session())
    words = page_of(gdn_session()).words

    for variant in report.variants:
        step = variant.per_step
        for figure in (
            step.host_blocked_us,
            step.drain_wait_us,
            step.gpu_idle_us,
            step.gpu_busy_us,
            step.launch_gap_us,
        ):
            assert text.micros(figure) in words
        assert variant.step_ms is not None and variant.step_ms.ci95 is not None
        assert text.millis(variant.step_ms.median) in words
        assert text.span(*(1e3 * end for end in variant.step_ms.ci95)) in words
    for site in report.sites:
        assert f"{site.file}:{site.line} in {site.function}" in words
        assert all(said.replace("`", "") in words for said in (site.code, site.title, site.hint))
        assert text.micros(site.host_blocked_us) in words and text.micros(site.gpu_idle_us) in words
    comparison = report.comparison
    assert comparison is not None and comparison.ci95 is not None
    low, high = comparison.ci95
    assert f"{comparison.step_time_ratio:.3f}, 95 % interval {low:.3f} to {high:.3f}" in words


def test_the_expression_that_waits_is_marked() -> None:
    html = rendered(Format.HTML, report_of(gdn_session()), analysis=analysed(gdn_session()))
    site = report_of(gdn_session()).sites[0]

    assert site.expression is not None
    assert f"<mark>{site.expression}</mark>" in html


def test_what_was_not_measured_is_never_nothing() -> None:
    known = session(recording(syncs=[sync(0)], kernels=None, copies=None, steps=steps(1)))
    page = page_of(known)

    assert page.words.count("not measured") >= 6
    assert not re.findall(r"\b0 (µs|ms|s|B)\b", page.words)
    assert page.data["variants"][0]["gpu_measured"] is False
    assert page.data["variants"][0]["waits"] == []
    assert "1 wait has no time, and cannot be drawn." in page.words


def test_every_modelled_time_is_marked() -> None:
    page = page_of(modelled_session())

    assert "times are modelled" in page.words
    for heading in ("host blocked", "GPU idle", "step time", "GPU span", "summed kernel time"):
        assert f"{heading} (modelled)" in page.words
    assert all(variant["modelled"] for variant in page.data["variants"])
    assert "modelled" not in page_of(gdn_session()).words


def test_the_verdict_comes_first_with_its_reasons() -> None:
    report = report_of(gdn_session())
    verdict = judge(report, Policy(variants=("naive",)), today=date(2026, 7, 31))
    words = page_of(gdn_session(), verdict).words

    assert words.index("over policy") < words.index("At a glance")
    assert all(text.shown(reason) in words for reason in verdict.reasons)


def test_no_difference_shown_is_an_answer_of_its_own() -> None:
    rounds = [[MS, MS + US], [MS + US, MS]] * 4
    known = session(
        recording("naive", steps=steps(2), rounds_ns=rounds), recording("precomputed", steps=steps(2), rounds_ns=rounds)
    )
    page = page_of(known)

    assert "no difference shown" in page.words
    assert ("p", {"class": "lead open"}) in page.tags


def test_a_report_without_its_session_has_no_timeline_and_says_the_rest() -> None:
    page = Page(rendered(Format.HTML, report_of(gdn_session())))

    assert page.data is None
    assert not [attributes for _, attributes in page.tags if attributes.get("id") == "timeline"]
    assert "Lines that wait" in page.words and "there is no timeline" in page.words


def test_a_trace_of_another_program_says_whose_it_is() -> None:
    only = replace(gdn_session(), recordings=gdn_session().recordings[:1], recorder=RecordedBy.NSYS, parameters=None)
    page = page_of(only)

    assert "recorded by nsys; step times were taken while it recorded" in page.words
    assert "Ratio of the step times" not in page.words


def test_a_partial_run_says_so() -> None:
    words = page_of(replace(gdn_session(), complete=False, missing=("It was interrupted after 4 steps.",))).words

    assert "these figures are partial. It was interrupted after 4 steps." in words


def test_the_page_can_be_walked_through_without_eyes() -> None:
    page = page_of(gdn_session())
    tags = [tag for tag, _ in page.tags]

    assert [tags.count(landmark) for landmark in ("header", "main", "footer", "h1")] == [1, 1, 1, 1]
    assert tags.count("caption") == tags.count("table") > 2
    assert ("section", "polite") in [(tag, attributes.get("aria-live")) for tag, attributes in page.tags]
    assert all(attributes.get("scope") for tag, attributes in page.tags if tag == "th")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [name for _, attributes in page.tags for name in (attributes.get("aria-labelledby") or "").split()]
    assert set(named) <= set(ids)


@given(names=st.lists(NAMES, min_size=9, max_size=9))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_name_becomes_markup_or_leaves_its_string(names: list[str]) -> None:
    known = hostile_session(names)
    html = rendered(Format.HTML, report_of(known), analysis=analysed(known))
    html.encode("utf-8", errors="replace")
    page = Page(html)
    tame = Page(rendered(Format.HTML, report_of(hostile_session(["x"] * 9)), analysis=analysed(known)))

    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in tame.tags} | {"code"}
    assert len(page.raw["script"]) == 2
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    assert isinstance(page.data["strings"], list)
    packed = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert packed is not None and not set(packed.group(1)) & set("<>&\u2028\u2029")


def test_a_run_without_any_event_is_a_page_too() -> None:
    page = page_of(session(recording(steps=steps(1)), target="empty"))

    assert "No line waits in the measured steps." in page.words
    assert page.data["variants"][0]["lanes"] == []


def test_the_packed_times_are_those_of_the_session() -> None:
    known = gdn_session()
    for packed, recorded in zip(page_of(known).data["variants"], known.recordings, strict=True):
        origin = min(step.start_ns for step in recorded.steps if not step.warmup)
        drawn = []
        for lane in packed["lanes"]:
            now = 0
            for step, length in zip(lane["start"], lane["length"], strict=True):
                now += step
                if lane["kind"] == "stream":
                    drawn.append((now + origin, now + origin + length))
        expected = [(each.start_ns, each.end_ns) for each in recorded.kernels or ()]
        expected += [
            (each.start_ns, each.end_ns)
            for each in recorded.copies or ()
            if each.start_ns is not None and each.end_ns is not None
        ]
        assert sorted(drawn) == sorted(expected)
        waits = [(wait["start"] + origin, wait["length"]) for wait in packed["waits"]]
        assert waits == [
            (each.start_ns, each.end_ns - each.start_ns)
            for each in recorded.syncs
            if each.start_ns is not None and each.end_ns is not None
        ]


def test_the_bubbles_add_up_to_the_idle_time_of_the_report() -> None:
    known = gdn_session()
    report: Report = report_of(known)
    for packed, variant, recorded in zip(
        page_of(known).data["variants"], report.variants, known.recordings, strict=True
    ):
        measured = {step.index for step in recorded.steps if not step.warmup}
        idle = sum(wait["idle"][1] for wait in packed["waits"] if wait["step"] in measured and not wait["pacing"])
        assert variant.per_step.gpu_idle_us == pytest.approx(idle / 1e3 / variant.steps)


def test_many_kernels_keep_every_wait() -> None:
    many = [KernelEvent(0, 7, f"k{index}", index * 10, index * 10 + 8) for index in range(2_000)]
    known = session(recording(syncs=[sync(0, at=(5_000, 5_500))], kernels=many, steps=steps(1)))
    html = HtmlReporter(None, analysed(known), max_events=200).render(report_of(known))
    page = Page(html)

    assert len(page.data["variants"][0]["waits"]) == 1
    assert "blocks stand for 2,000 events" in page.words


def test_a_line_leads_to_the_wait_of_its_own_call_and_reason() -> None:
    """Without a Python line, sites differ by their call; with one, by the reason for which they are allowed."""
    stacks = Stacks()
    line = stacks.add(frame("x.item()", file="app/a.py"))
    syncs = [
        sync(0, stack=None, at=(0, US), api="cudaDeviceSynchronize"),
        sync(0, stack=None, at=(2 * US, 3 * US), api="cudaEventSynchronize"),
        sync(0, stack=line, at=(4 * US, 5 * US)),
        sync(0, stack=line, at=(6 * US, 7 * US), allowed="sampling leaves the GPU"),
    ]
    known = session(recording(syncs=syncs, steps=steps(1), stacks=stacks))
    (seen,) = analysed(known).recordings
    rows, _ = site_rows(report_of(known), known, [thin_out(seen.recording, (), seen.waits, 100)])

    found = {(row.site.api, row.site.allowed): row.wait for row in rows}
    assert sorted(wait or "" for wait in found.values()) == ["0:0", "0:1", "0:2", "0:3"]
    assert found["cudaEventSynchronize", None] == "0:1"
    assert found["cudaStreamSynchronize", "sampling leaves the GPU"] == "0:3"


def test_words_and_marks_stand_out_in_both_themes() -> None:
    """WCAG 2.2: 4.5 to 1 for words (1.4.3), 3 to 1 for what a picture says (1.4.11)."""
    css = (HERE / "page.css").read_text()
    known = {name: values for name, *values in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", css)}
    known["on-dark"] = ["#ffffff", "#ffffff"]
    words = [(ink, ground) for ink in ("ink", "muted", "sync-ink", "asked-ink", "good", "focus") for ground in GROUNDS]
    words += [("on-dark", block) for block in ("kernel", "h2d", "d2h", "d2d", "memset")]
    words += [("range-ink", "range"), ("range-ink", "merged")]
    marks = [(mark, "ground") for mark in ("sync", "asked", "kernel", "h2d", "d2h", "d2d", "memset")]
    low = [
        (front, behind, theme, contrast(known[front][theme], known[behind][theme]))
        for pairs, least in ((words, 4.5), (marks, 3.0))
        for front, behind in pairs
        for theme in (0, 1)
        if contrast(known[front][theme], known[behind][theme]) < least
    ]
    assert not low


GROUNDS = ("ground", "panel")


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    low, high = sorted(luminance(colour) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_how_to_get_the_lines_of_a_trace_is_said_once() -> None:
    syncs = [sync(0, stack=None, at=(at, at + 10), api=api) for at, api in enumerate(("cudaFree", "cudaMemcpy", "x"))]
    rows, _ = site_rows(report_of(session(recording(syncs=syncs, steps=steps(1)))), None, ())

    assert len(rows) == 3
    assert len([row for row in rows if row.hint is not None]) == len({row.site.hint for row in rows})


def test_more_recordings_than_a_canvas_holds_are_counted() -> None:
    many = [recording(f"rank {rank}", kernels=[kernel((0, US), step=0)], steps=steps(1)) for rank in range(20)]
    page = page_of(session(*many))

    assert len(page.data["variants"]) == MAX_RECORDINGS
    assert "not drawn: 8 more recordings; the tables have them all." in page.words
    assert "rank 19" in page.words


def test_a_ceiling_says_what_it_is_held_against() -> None:
    line = Line("app/train.py", 7)
    replays = (
        Replay((line,), rounds_ns=((MS, MS), (MS, MS))),
        Replay((Line("app/loop.py", 3),), rounds_ns=(), refused="It read another value when the step was run again."),
    )
    known = recording(syncs=[sync(0)], steps=steps(2), rounds_ns=[[2 * MS, 2 * MS]] * 2, replays=replays)
    words = page_of(session(known)).words

    assert "against 2.00 ms as it is" in words
    assert "app/train.py:7 1.00 ms 2.000x" in words
    assert "app/loop.py:3 not measured It read another value" in words


def test_a_line_has_a_switch_for_the_steps_without_it_and_the_data_of_them() -> None:
    page = page_of(gdn_session())
    naive, precomputed = page.data["variants"]
    assert [each["place"] for each in naive["without"]] == [
        "gdn_prefill.py:120",
        "index.py:41",
        "engine.py:204",
        "bench.py:12",
    ]
    assert precomputed["without"] == []
    for each in naive["without"]:
        assert [lane["kind"] for lane in each["lanes"]] == ["host", "stream", "stream"]
        assert each["steps"][0][0] == 0 and each["end"] <= each["recorded_end"] == 12_000_000
    html = rendered(Format.HTML, report_of(gdn_session()), analysis=analysed(gdn_session()))
    assert [f'data-without="0:{number}"' in html for number in range(5)] == [True, True, True, True, False]
    assert "data-without=" not in HtmlReporter().render(report_of(gdn_session())).partition("<script>")[0]
