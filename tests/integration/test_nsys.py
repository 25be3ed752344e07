"""Real nsys opens what syncwatch exports and finds syncwatch's own figures; it records our ranges live.

`make test-nsys` gets nsys; without one on PATH these tests are skipped.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syncwatch.app.export import TraceFormat, bubbles_of, export
from syncwatch.pipeline import analysed, report_of
from syncwatch.traces.layout import lay_out
from tests.helpers.command import ROOT, syncwatch
from tests.helpers.nsys_binary import Nsys, binaries
from tests.helpers.nsys_sessions import every_event, lacking

pytestmark = pytest.mark.skipif(not binaries(), reason="no nsys on PATH; `make test-nsys` gets one")

VARIANTS = "naive", "precomputed"
_2022 = {
    "cuda_api_sum": "cudaapisum",
    "cuda_gpu_kern_sum": "gpukernsum",
    "cuda_gpu_kern_sum:base": "gpukernsum:base",
    "cuda_gpu_mem_size_sum": "gpumemsizesum",
    "nvtx_sum": "nvtxsum",
    "nvtx_gpu_proj_trace": "nvtxgpuproj",
    "nvtx_pushpop_trace": "nvtxpptrace",
    "cuda_gpu_trace": "gputrace",
    "cuda_api_trace": "cudaapitrace",
    "cuda_api_sync": "cuda-sync-api",
    "cuda_memcpy_async": "cuda-async-memcpy",
    "cuda_memcpy_sync": "cuda-sync-memcpy",
    "cuda_memset_sync": "cuda-sync-memset",
    "gpu_gaps:gap=1": "gpu-starv:gap=1",
}
"""What a report or rule was called before 2023."""

_RULES = "cuda_api_sync", "cuda_memcpy_async", "cuda_memcpy_sync", "cuda_memset_sync", "gpu_gaps:gap=1"

Asked = Callable[[str, Path], list[dict[str, str]]]


@pytest.fixture(params=binaries(), ids=lambda path: Path(path).parents[1].name or "nsys")
def nsys(request: pytest.FixtureRequest) -> Nsys:
    return Nsys(request.param)


@pytest.fixture
def asked(nsys: Nsys) -> Asked:
    """Return the rows of a report or rule, called by its name since 2023."""
    old = nsys.is_2022()

    def ask(name: str, file: Path) -> list[dict[str, str]]:
        known = _2022[name] if old else name
        return nsys.rule(known, file) if name in _RULES else nsys.report(known, file)

    return ask


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a virtual run of both variants, with an export of each beside it."""
    path = tmp_path_factory.mktemp("nsys") / "run.json"
    ended = syncwatch("run", "gdn-prefill", "--device", "virtual", "--preset", "tiny", "--steps", "2", "-o", str(path))
    assert ended.code == 0, ended.err
    for name in VARIANTS:
        ended = syncwatch(
            "export", str(path), "--format", "nsys", "--variant", name, "-o", str(path.with_name(f"{name}.sqlite"))
        )
        assert ended.code == 0, ended.err
    return path


@pytest.fixture
def every_event_file(tmp_path: Path) -> Path:
    export(analysed(every_event()), TraceFormat.NSYS, tmp_path / "every_event.sqlite")
    return tmp_path / "every_event.sqlite"


def variant_of(run: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the report of a variant, and its recording."""
    document = json.loads(run.read_text())
    reported = next(each for each in document["variants"] if each["name"] == name)
    return reported, next(each for each in document["session"]["recordings"] if each["variant"] == name)


def numbers(rows: list[dict[str, str]], column: str) -> list[int]:
    return sorted(int(row[column]) for row in rows)


def calls(rows: list[dict[str, str]]) -> dict[str, int]:
    return {row["Name"]: int(row["Num Calls"]) for row in rows}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_report_and_rule_reads_both_variants(run: Path, name: str, nsys: Nsys) -> None:
    file = run.with_name(f"{name}.sqlite")

    shown = {each: nsys.report(each, file) for each in nsys.reports()}
    found = {each: nsys.rule(each, file) for each in nsys.rules()}

    assert len(shown) >= 16 and len(found) == 6
    # The session has no range of the start/end kind, only push/pop ranges; every other report has rows.
    assert {each for each, rows in shown.items() if not rows} <= {"nvtxsesum", "nvtx_startend_sum"}
    assert all("(virtual, modelled)" in row["Device"] for row in shown.get("cuda_gpu_trace", shown.get("gputrace", [])))


@pytest.mark.parametrize("name", VARIANTS)
def test_the_figures_of_a_run_are_those_of_its_report(run: Path, name: str, asked: Asked) -> None:
    file = run.with_name(f"{name}.sqlite")
    reported, recorded = variant_of(run, name)

    counted = calls(asked("cuda_api_sum", file))
    # The runner's own waits are for events and the device; the scenario's are for its stream.
    assert (
        counted.get("cudaStreamSynchronize", 0) == round(reported["per_step"]["syncs"] * 2) + reported["warmup_syncs"]
    )
    pacing = sum(each["pacing"] for each in recorded["syncs"])
    assert counted["cudaDeviceSynchronize"] + counted["cudaEventSynchronize"] == pacing
    assert counted["cudaLaunchKernel"] == len(recorded["kernels"])
    assert counted["cudaMemcpyAsync"] == len(recorded["copies"])

    assert sum(numbers(asked("cuda_gpu_kern_sum", file), "Total Time (ns)")) == sum(
        each["end_ns"] - each["start_ns"] for each in recorded["kernels"]
    )
    reads = [
        row for row in asked("cuda_gpu_mem_size_sum", file) if row["Operation"].endswith(("DtoH]", "Device-to-Host]"))
    ]
    assert sum(int(row["Count"]) for row in reads) == round(reported["per_step"]["d2h_copies"] * 3)

    spans = {row["Name"]: int(row["Projected Duration (ns)"]) for row in asked("nvtx_gpu_proj_trace", file)}
    measured = [spans["syncwatch.step 1"], spans["syncwatch.step 2"]]
    assert sum(measured) / 2 == pytest.approx(reported["per_step"]["gpu_span_us"] * 1000, abs=1)

    waits = [each for each in recorded["syncs"] if each["kind"] in ("stream", "device")]
    assert numbers(asked("cuda_api_sync", file), "Duration (ns)") == sorted(
        each["end_ns"] - each["start_ns"] for each in waits
    )
    pageable = [each for each in recorded["copies"] if each["memory"] == "pageable"]
    assert len(asked("cuda_memcpy_async", file)) == len(pageable)


def test_every_wait_is_a_range_with_its_cause_and_line(run: Path, asked: Asked) -> None:
    found = {row["Range"]: int(row["Instances"]) for row in asked("nvtx_sum", run.with_name("naive.sqlite"))}
    reported, recorded = variant_of(run, "naive")

    (site,) = reported["sites"]
    assert found[f"syncwatch:{site['code']} {site['file']}:{site['line']}"] == 3
    assert found["syncwatch:pacing"] == sum(each["pacing"] for each in recorded["syncs"])
    assert {name: count for name, count in found.items() if not name.startswith("syncwatch:")} == Counter(
        each["name"] for each in recorded["ranges"]
    )


def test_a_session_of_every_event_has_its_figures(every_event_file: Path, asked: Asked) -> None:
    per_step = report_of(every_event()).variants[0].per_step

    sizes = {
        row["Operation"]: (row["Total (MB)"], row["Count"]) for row in asked("cuda_gpu_mem_size_sum", every_event_file)
    }
    reads = next(value for name, value in sizes.items() if "DtoH" in name or "Device-to-Host" in name)
    assert reads == (f"{(per_step.d2h_bytes or 0) / 1e6:.3f}", str(round(per_step.d2h_copies or 0)))
    assert sizes["[CUDA memset]"] == ("1.049", "1")

    kernels = asked("cuda_gpu_kern_sum", every_event_file)
    (memset,) = (each for each in every_event().recordings[0].kernels or () if each.memset_bytes is not None)
    shown_ns = sum(numbers(kernels, "Total Time (ns)")) + memset.end_ns - memset.start_ns
    assert shown_ns == pytest.approx((per_step.kernel_us or 0) * 1000)
    assert "void gemm<float>(float const*)" in {row["Name"] for row in kernels}

    counted = calls(asked("cuda_api_sum", every_event_file))
    assert counted == {
        "cudaLaunchKernel": 1,
        "cuLaunchKernelEx": 1,
        "cudaGraphLaunch": 1,
        "cudaMemsetAsync": 1,
        "cudaMemcpyAsync": 3,
        "cudaMemcpy": 1,
        "cudaStreamSynchronize": 1,
        "cudaEventSynchronize": 1,
        "cudaDeviceSynchronize": 1,
        "cudaMalloc": 1,
    }


def test_the_gaps_of_every_event_are_its_bubbles(every_event_file: Path, asked: Asked) -> None:
    session = every_event()
    (placed,) = lay_out(session)
    bubbles = [each for each in bubbles_of(analysed(session))[0] if each is not None]

    gaps = {(int(row["Start (ns)"]), int(row["Duration (ns)"])) for row in asked("gpu_gaps:gap=1", every_event_file)}

    assert gaps == {(start + placed.shift_ns, end - start) for start, end in bubbles if end - start > 1_000_000}
    assert len(gaps) == 3


def test_the_copies_of_every_event_by_the_call_that_made_them(every_event_file: Path, asked: Asked) -> None:
    assert [row["Bytes (MB)"] for row in asked("cuda_memcpy_async", every_event_file)] == ["4.194", "1.049"]
    assert [row["Bytes (MB)"] for row in asked("cuda_memcpy_sync", every_event_file)] == ["2.097"]
    # The session's memset is one of device memory, which does not wait.
    assert asked("cuda_memset_sync", every_event_file) == []
    # The first wait is shown as two calls, the copy's until 2.1 ms and the synchronization's after it.
    assert numbers(asked("cuda_api_sync", every_event_file), "Duration (ns)") == [50_000, 1_400_000]


def test_threads_and_streams_of_every_event(every_event_file: Path, asked: Asked) -> None:
    threads = Counter(row["Thread Name"] for row in asked("cuda_api_trace", every_event_file))
    streams = Counter(row["Strm"] for row in asked("cuda_gpu_trace", every_event_file))

    assert threads == {"MainThread": 9, "worker": 3}
    assert streams == {"7": 9, "13": 2}


@pytest.mark.parametrize("lacks", lacking())
def test_whatever_a_session_lacks_every_report_and_rule_reads_it(lacks: str, tmp_path: Path, nsys: Nsys) -> None:
    file = tmp_path / "lacking.sqlite"
    export(analysed(lacking()[lacks]), TraceFormat.NSYS, file)

    for each in nsys.reports():
        nsys.report(each, file)
    for each in nsys.rules():
        nsys.rule(each, file)


def test_reading_leaves_the_file_as_it_was(every_event_file: Path, asked: Asked) -> None:
    before = every_event_file.read_bytes()
    asked("cuda_api_sum", every_event_file)
    asked("cuda_api_sync", every_event_file)

    assert every_event_file.read_bytes() == before


def test_nsys_records_our_ranges_live(tmp_path: Path, nsys: Nsys, asked: Asked) -> None:
    target = "-m", "syncwatch", "run", "gdn-prefill", "--device", "virtual", "--preset", "tiny", "--steps", "2"
    said = nsys.run(
        *("profile", "--trace=nvtx", "--sample=none", "--cpuctxsw=none", "-o", str(tmp_path / "live")),
        *(sys.executable, *target, "-o", str(tmp_path / "run.json")),
        cwd=ROOT,
    )
    assert (tmp_path / "live.nsys-rep").exists(), said
    file = tmp_path / "live.sqlite"
    nsys.run("export", "--type", "sqlite", "-o", str(file), str(tmp_path / "live.nsys-rep"))

    found = {row["Range"]: int(row["Instances"]) for row in asked("nvtx_sum", file)}

    for name in VARIANTS:
        assert found[name] == 1
        ranges = Counter(each["name"] for each in variant_of(tmp_path / "run.json", name)[1]["ranges"])
        assert {"build metadata", "layer 0", "syncwatch.pacing"} <= ranges.keys()
        # The comparison of outputs, which runs before the steps, makes layers and metadata too.
        assert all(found[each] >= 2 * count for each, count in ranges.items() if each != name)
    assert [found[f"syncwatch.step {index}"] for index in range(3)] == [2, 2, 2]
    rows = asked("nvtx_pushpop_trace", file)
    names = {row["RangeId"]: row["Name"] for row in rows}
    around = {tuple(names[each] for each in row["RangeStack"].strip(":").split(":")) for row in rows}
    assert ("naive", "syncwatch.step 1", "layer 0") in around and (
        "precomputed",
        "syncwatch.step 2",
        "build metadata",
    ) in around
