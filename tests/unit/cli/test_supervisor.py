"""The supervisor's exit code and message follow from how its child process ended, and from what that delivered."""

from __future__ import annotations

import signal

import pytest

from syncwatch.cli.supervisor import Delivery, conclude, parse_delivery


def left(status: int) -> int:
    return status << 8


@pytest.mark.parametrize(
    ("status", "said", "code", "words"),
    [
        (left(0), Delivery(0), 0, ""),
        (left(1), Delivery(1), 1, ""),
        (left(0), Delivery(), 3, "exit status 0 before anything was judged"),
        (left(1), Delivery(), 3, "exit status 1 before anything was judged"),
        (signal.SIGSEGV, Delivery(), 3, "SIGSEGV before anything was judged"),
        (signal.SIGKILL, Delivery(), 3, "out of memory"),
        (signal.SIGTERM, Delivery(), 143, ""),
        (signal.SIGINT, Delivery(), 130, ""),
        # The delivered exit code holds, however the process ends afterwards ...
        (left(0), Delivery(1), 1, ""),
        (signal.SIGABRT, Delivery(1), 1, ""),
        # ... unless it was 0: a process that fails after that is not clean.
        (left(7), Delivery(0), 3, "exit status 7 after the report was made"),
        (signal.SIGABRT, Delivery(0), 3, "SIGABRT after the report was made"),
        (left(0), Delivery(0, late=("It waited.",)), 3, "It waited."),
        (left(1), Delivery(1, late=("It waited.",)), 1, "It waited."),
    ],
)
def test_what_the_exit_code_is(status: int, said: Delivery, code: int, words: str) -> None:
    found, sentences = conclude(status, said)

    assert found == code
    assert words in " ".join(sentences) and bool(sentences) == bool(words)


def test_what_is_in_the_pipe() -> None:
    data = b"late one\nlate one\ncode 3\nother two\ncode 0\nco"

    assert parse_delivery(data) == Delivery(0, ("one",))
    assert parse_delivery(b"") == Delivery()
    assert parse_delivery(b"code -1\ncode x\n") == Delivery()
