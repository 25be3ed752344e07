"""A torch or Triton that nobody tried is a sentence, in every place that a person looks at."""

from __future__ import annotations

import pytest

from syncwatch.compat import tried
from syncwatch.compat.tried import NEWEST_TORCH, NEWEST_TRITON, is_too_old, newer_than_tried, numbers


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.15.0", (2, 15)),
        ("2.15.0+cu130", (2, 15)),
        ("2.16.0a0+git1234567", (2, 16)),
        ("2.16.0.dev20261101+cpu", (2, 16)),
        ("2.9", (2, 9)),
        ("10.0.1rc3", (10, 0)),
        ("unknown", None),
        ("", None),
    ],
)
def test_a_version_is_read_whatever_was_built(version: str, expected: tuple[int, int] | None) -> None:
    assert numbers(version) == expected


@pytest.mark.parametrize("version", ["2.8.0", "2.8.9+cu128", "1.13.1", "mine"])
def test_an_old_torch_is_refused(version: str) -> None:
    assert is_too_old(version)


@pytest.mark.parametrize("version", ["2.9.0", "2.10.0+cpu", NEWEST_TORCH, "3.0.0a0+git1"])
def test_what_is_supported_or_newer_is_not_too_old(version: str) -> None:
    assert not is_too_old(version)


@pytest.mark.parametrize("version", [None, "2.9.1", NEWEST_TORCH, f"{NEWEST_TORCH}+cu132", "2.15.9"])
def test_what_was_tried_needs_no_words(version: str | None) -> None:
    assert newer_than_tried(version, NEWEST_TRITON) == ()


@pytest.mark.parametrize("version", ["2.16.0a0+git123", "2.100.0", "3.0", "built-here"])
def test_a_newer_torch_is_a_sentence_with_what_to_do(version: str) -> None:
    (said,) = newer_than_tried(version, NEWEST_TRITON)

    assert said.startswith(f"torch {version} is newer than any that syncwatch was tried with ({NEWEST_TORCH})")
    assert f"make test-torch TORCH={version.partition('+')[0]}" in said
    assert "--device cuda" in said


def test_each_of_the_two_has_a_sentence() -> None:
    first, second = newer_than_tried("2.16.0", "4.0.0")

    assert (first.split()[0], second.split()[0]) == ("torch", "triton")


def test_a_name_that_is_gone_is_a_sentence_with_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tried, "installed", {"torch": "2.16.0", "triton": "3.10.0"}.get)

    said = tried.missing_name_sentence("cannot be put on (no such name)")

    assert said.startswith("The virtual device cannot be put on (no such name) with torch 2.16.0 and triton 3.10.0.")
    assert NEWEST_TORCH in said
