"""Durations, sizes, counts and names as the reports write them."""

from __future__ import annotations

import pytest

from syncwatch.report.text import crop_left, crop_right, micros, number, plural, shown, size


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "not measured"),
        (0, "0 µs"),
        (0.4, "0.40 µs"),
        (9.994, "9.99 µs"),
        (12.34, "12.3 µs"),
        (812.4, "812 µs"),
        (999.6, "1.00 ms"),
        (12_345, "12.3 ms"),
        (2_500_000, "2.50 s"),
    ],
)
def test_a_duration_has_three_digits_and_a_unit(value: float | None, expected: str) -> None:
    assert micros(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(None, "not measured"), (0, "0 B"), (40, "40 B"), (1536, "1.50 KiB"), (3 << 30, "3.00 GiB")]
)
def test_a_size_has_binary_units(value: float | None, expected: str) -> None:
    assert size(value) == expected


def test_counts_are_whole_where_they_are_whole() -> None:
    assert [number(value) for value in (0, 1.0, 2.333, 12_000)] == ["0", "1", "2.33", "12,000"]
    assert [plural(1, "copy"), plural(2, "copy"), plural(0.5, "sync")] == ["1 copy", "2 copies", "0.50 syncs"]
    assert [plural(2, "replay"), plural(2, "y")] == ["2 replays", "2 ys"]


def test_what_a_terminal_would_act_upon_is_spelled_out() -> None:
    assert shown("plain [red]") == "plain [red]"
    assert shown("\x1b[31m\u202e\udc80") == "\\x1b[31m\\u202e\\udc80"


def test_a_crop_keeps_the_end_or_the_beginning() -> None:
    assert crop_left("a/b/c/file.py", 8) == "…file.py"
    assert crop_right("function", 5) == "func…"
    assert crop_left("short", 10) == crop_right("short", 10) == "short"
