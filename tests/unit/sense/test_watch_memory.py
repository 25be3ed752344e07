"""A long run stays small: what a read takes from Python's memory while it is watched, and at the end of the watch."""

from __future__ import annotations

import tracemalloc

import pytest

from syncwatch.sense.scopes.ranges import step
from tests.helpers.cuda_watch import watching
from tests.helpers.fake_cupti import READ, STREAM, FakeCupti, fake_debug_mode, program

LIMIT_BYTES = 700
"""A read takes about 530; with a Python object for each call and each record it took 1,170."""


def highest(cupti: FakeCupti, reads: int) -> int:
    """Return the most bytes that a watch of `reads` took from Python, with its recording."""
    tracemalloc.start()
    try:
        with watching() as run:
            for first in range(1, 2 * reads, 200):
                with step():
                    for number in range(first, first + 200, 2):
                        cupti.play(program((READ, number, 4), (STREAM, number + 1)))
                        cupti.read(number, 4)
                        cupti.waited(number + 1)
                    cupti.deliver()
        assert len(run.recording("reads").syncs) == reads
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_read_takes_little_memory(cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_debug_mode(monkeypatch)
    few, many = highest(cupti, 1_000), highest(cupti, 5_000)

    assert (many - few) / 4_000 <= LIMIT_BYTES
