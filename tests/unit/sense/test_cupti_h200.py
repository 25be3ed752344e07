"""A real torch.profiler trace from an H200 (torch 2.11): what is read equals direct queries of the file."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from syncwatch.model.events import Direction, HostMemory, SyncKind
from syncwatch.sense.cuda.runtime_trace import RuntimeTrace, read_trace

PATH = Path(__file__).parent / "data" / "idioms_h200.json.gz"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(gzip.decompress(PATH.read_bytes()))
    return loaded


@pytest.fixture(scope="module")
def trace() -> RuntimeTrace:
    return read_trace(PATH)


def inside(document: dict[str, Any], category: str) -> list[dict[str, Any]]:
    rows = document["traceEvents"]
    (window,) = (row for row in rows if row["name"] == "syncwatch.window" and row["cat"] == "user_annotation")
    begin, end = window["ts"], window["ts"] + window["dur"]
    return [row for row in rows if row["cat"] == category and begin <= row["ts"] <= end]


def test_every_synchronize_call_in_the_window_is_read(document: dict[str, Any], trace: RuntimeTrace) -> None:
    calls = [row for row in inside(document, "cuda_runtime") if row["name"].endswith("Synchronize")]

    found = [each for each in trace.waits if each.kind not in (SyncKind.COPY, SyncKind.ALLOCATION)]
    assert len(found) == len(calls) == 72
    assert sum(each.end_ns - each.call_ns for each in found) == pytest.approx(
        sum(row["dur"] for row in calls) * 1000, abs=len(calls)
    )


def test_copies_have_the_bytes_of_the_file(document: dict[str, Any], trace: RuntimeTrace) -> None:
    launched = {row["args"]["correlation"] for row in inside(document, "cuda_runtime")}
    rows = [row for row in document["traceEvents"] if row["cat"] == "gpu_memcpy"]
    rows = [row for row in rows if row["args"]["correlation"] in launched]

    assert len(trace.copies) == len(rows)
    assert sum(each.event.bytes for each in trace.copies) == sum(row["args"]["bytes"] for row in rows)


def test_the_backward_pass_waits_on_a_thread_of_its_own(trace: RuntimeTrace) -> None:
    threads = Counter(each.thread for each in trace.waits if each.kind is not SyncKind.ALLOCATION)

    assert sorted(threads.values()) == [2, 72]


def test_a_pageable_read_back_blocks_also_when_asked_not_to(trace: RuntimeTrace) -> None:
    reads = [copy for copy in trace.copies if copy.event.direction is Direction.D2H]
    pageable = [copy for copy in reads if copy.event.memory is HostMemory.PAGEABLE]

    assert len(pageable) == 8 and all(copy.blocking for copy in pageable)
    assert sum(each.kind is SyncKind.COPY for each in trace.waits) == 2


def test_a_small_pageable_upload_does_not_block_when_asked_not_to(trace: RuntimeTrace) -> None:
    uploads = Counter(
        (copy.event.memory, copy.blocking) for copy in trace.copies if copy.event.direction is Direction.H2D
    )

    assert uploads == {(HostMemory.PAGEABLE, True): 8, (HostMemory.PAGEABLE, False): 2, (HostMemory.PINNED, False): 2}
