"""The terminal report: widths, colours, carets under what waited, and names that could harm a terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from syncwatch.cli.streams import shows_colour
from syncwatch.model.report import Report, WhatIf
from syncwatch.model.session import Coverage, DeviceKind, Line
from syncwatch.pipeline import report_of
from syncwatch.report.site import caret_span
from syncwatch.report.terminal import TerminalReporter
from tests.helpers.fakes import Stacks, frame, gdn_session, recording, session, steps, sync

HOSTILE = {
    "ansi": "\x1b[31mred\x1b[0m",
    "markup": "[red]not red[/red] [link=x]y[/link]",
    "emoji-code": ":skull:",
    "newline": "a\nb\rc\td",
    "bidi": "abc\u202edcba",
    "bell-and-c1": "\x07\x9b2J\u009d",
    "quotes": "'\"<>&]]>::",
    "lone-surrogate": "a\udc80b",
    "wide": "データ" * 20,
    "zero-width": "a\u200bb",
    "empty": "",
    "long": "x" * 10_000,
    "long-path": "folder/" * 1_500 + "file.py",
}


def one_line(code: str, expression: str | None = None, **where: str) -> Report:
    stacks = Stacks()
    stacks.add(frame(code, expression, **where))  # type: ignore[arg-type]
    return report_of(session(recording(syncs=[sync()], stacks=stacks)))


def hostile(name: str) -> Report:
    report = report_of(gdn_session())
    return replace(
        report,
        target=name,
        parameters={name: name},
        missing=(name,),
        complete=False,
        environment=replace(report.environment, gpu=name),
        coverage=Coverage((name,), (name,), None, 0),
        variants=tuple(
            replace(
                variant,
                name=name,
                notes=(name,),
                sites=tuple(
                    replace(
                        site, file=name, function=name, source=f"{name} = x.item()", expression="x.item()", allowed=name
                    )
                    for site in variant.sites
                ),
                warmup_sites=tuple(replace(site, file=name, function=name) for site in variant.warmup_sites),
                what_if=(WhatIf((Line(name, 1),), None, None, None, refused=name),),
            )
            for variant in report.variants
        ),
    )


@pytest.mark.parametrize("width", [40, 60, 100, 200])
@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_name_is_shown_and_never_acted_upon(name: str, width: int) -> None:
    rendered = TerminalReporter(width).render(hostile(name))

    assert all(character == "\n" or character.isprintable() for character in rendered)
    assert max(cell_len(line) for line in rendered.splitlines()) <= width


def test_markup_and_escapes_are_spelled_out() -> None:
    rendered = TerminalReporter(120).render(hostile("[red]x[/red]\x1b[2J"))
    assert r"[red]x[/red]\x1b[2J" in rendered


@pytest.mark.parametrize("width", [40, 41, 59, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    rendered = TerminalReporter(width).render(report_of(gdn_session()))
    assert max(cell_len(line) for line in rendered.splitlines()) <= width


def test_colour_is_given_only_where_it_was_asked_for() -> None:
    report = report_of(gdn_session())
    assert "\x1b[" not in TerminalReporter(100).render(report)
    assert "\x1b[" in TerminalReporter(100, color=True).render(report)


def test_the_environment_does_not_override_the_constructor(monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of(gdn_session())
    plain = TerminalReporter(100).render(report)
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "33", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    assert TerminalReporter(100).render(report) == plain


def test_ascii_is_ascii() -> None:
    assert TerminalReporter(100, unicode=False).render(hostile("µ·データ")).isascii()


def test_more_sites_than_fit_are_counted() -> None:
    stacks = Stacks()
    lines = [stacks.add(frame(line=number)) for number in range(12)]
    report = report_of(session(recording(syncs=[sync(stack=line) for line in lines], stacks=stacks)))
    rendered = TerminalReporter(100, max_sites=3).render(report)
    assert rendered.count("SW101") == 3
    assert "and 9 more lines; `--format json` has them all" in rendered


@pytest.mark.parametrize(
    ("source", "expression", "marked"),
    [
        ("n = x.item() + y.item()", "y.item()", "y.item()"),
        ("n = x.item()", None, "n = x.item()"),
        ("y = torch.tensor(", "torch.tensor( [1, 2], device=d )", "torch.tensor("),
        ("if flag:", "if flag:", "if flag:"),
        ("a = b", "elsewhere()", "a = b"),
    ],
)
def test_the_carets_stand_under_what_waited(source: str, expression: str | None, marked: str) -> None:
    start, end = caret_span(source, expression)
    assert source[start:end] == marked


ODD = {
    "wide": "データ = x.item()",
    "emoji": "s = '🧵🚀' + f(x.item())",
    "joined-emoji": "family = '👨\u200d👩\u200d👧'; y = x.item()",
    "combining": "e\u0301tat = x.item()",
    "tab": "a\tb = x.item()",
    "wide-and-long": "y = '" + "漢字" * 60 + "' + x.item() + '" + "終" * 60 + "'",
    "combining-and-long": "y = '" + "e\u0301" * 120 + "' or x.item()",
    "nested": "x = " + "f(" * 80 + "x.item()" + ")" * 80,
}


@pytest.mark.parametrize("unicode", [True, False], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", [40, 60, 100])
@pytest.mark.parametrize("code", ODD.values(), ids=ODD.keys())
def test_carets_stand_under_what_waited_whatever_is_before_it(code: str, width: int, unicode: bool) -> None:
    rendered = TerminalReporter(width, unicode=unicode).render(one_line(code, "x.item()")).splitlines()
    shown = next(number for number, line in enumerate(rendered) if line.startswith("7 | "))
    line, carets = rendered[shown], rendered[shown + 1]
    assert cell_len(carets.partition("^")[0]) == cell_len(line.partition("x.item()")[0])
    assert carets.count("^") == len("x.item()") and "x.item()" in line
    assert cell_len(line) <= width


def test_an_accent_that_lost_its_letter_is_left_out() -> None:
    rendered = TerminalReporter(60).render(one_line("y = '" + "e\u0301" * 120 + "' or x.item()", "x.item()"))
    assert "…\u0301" not in rendered and "…e\u0301" in rendered


@pytest.mark.parametrize("width", [40, 60, 100])
@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_spelled_out_names_keep_the_width_too(name: str, width: int) -> None:
    rendered = TerminalReporter(width, unicode=False).render(hostile(name))
    assert rendered.isascii() and max(map(len, rendered.splitlines())) <= width


def test_a_long_line_is_cut_around_what_waited() -> None:
    code = "result = " + "very_long_name + " * 20 + "x.item()"
    rendered = TerminalReporter(60).render(one_line(code, "x.item()"))
    shown = next(line for line in rendered.splitlines() if "x.item()" in line)
    assert shown.startswith("7 | …")


@pytest.mark.parametrize("padding", range(70, 130))
def test_a_cut_line_never_wraps(padding: int) -> None:
    code = "a b " * (padding // 4) + "x" * (padding % 4) + " fast_all(mask) and something_more"
    rendered = TerminalReporter(100).render(one_line(code, "fast_all(mask)")).splitlines()
    shown = next(number for number, line in enumerate(rendered) if line.startswith("7 | "))
    assert rendered[shown + 1].startswith("  | ")
    assert rendered[shown + 1].index("^") == rendered[shown].index("fast_all")


def test_a_wait_without_a_line_is_still_shown() -> None:
    rendered = TerminalReporter(100).render(report_of(session(recording(syncs=[sync(stack=None)]))))
    assert "no Python line; seen as cudaStreamSynchronize" in rendered


def test_a_clean_run_says_so_in_words() -> None:
    rendered = TerminalReporter(100).render(report_of(session(recording(steps=steps(20)))))
    assert "naive: no sync in 20 steps" in rendered


def test_a_run_without_steps_does_not_look_healthy() -> None:
    rendered = TerminalReporter(100).render(report_of(session(recording(steps=steps(1, warmup=1)))))
    assert "no step was measured" in rendered and "no sync" not in rendered


def test_an_empty_report_is_text_all_the_same() -> None:
    assert TerminalReporter(100).render(report_of(session())).startswith("gdn-prefill on NVIDIA H200\n")


def test_every_modelled_time_carries_its_mark() -> None:
    known = gdn_session()
    virtual = replace(
        known,
        device=DeviceKind.VIRTUAL,
        recordings=tuple(replace(each, modelled=True) for each in known.recordings),
    )
    rendered = TerminalReporter(200).render(report_of(virtual))
    for line in rendered.splitlines():
        if any(unit in line for unit in ("µs", " ms")):
            assert "(modelled)" in line


def test_outputs_that_differ_are_not_followed_by_a_ratio() -> None:
    rendered = TerminalReporter(100).render(report_of(replace(gdn_session(), outputs_equal=False)))
    assert "precomputed: outputs differ: times not compared" in rendered
    assert "x faster" not in rendered


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm-256color", "NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_a_terminal_is_coloured_unless_its_user_said_no(environment: dict[str, str], coloured: bool) -> None:
    console = Console(force_terminal=True, _environ=environment)
    assert shows_colour(console) is coloured


def test_what_is_piped_has_no_colour() -> None:
    assert not shows_colour(Console(file=io.StringIO(), _environ={"TERM": "xterm-256color"}))
