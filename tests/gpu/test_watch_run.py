"""A user's script or block on a real GPU: one watched run gives its waits, with their lines and their times."""

from __future__ import annotations

import ctypes
import json
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import syncwatch
from syncwatch.model.events import SyncKind
from syncwatch.model.report import Site
from tests.helpers.command import syncwatch as command

pytestmark = pytest.mark.gpu


def waits(watch: syncwatch.watch) -> list[Site]:
    return [site for site in watch.report.sites if site.kind is not SyncKind.ALLOCATION]


def run(folder: Path, program: str) -> tuple[dict[str, Any], str]:
    """Run `program` under `syncwatch run`; return its report and what it printed."""
    (folder / "program.py").write_text(textwrap.dedent(program))
    ended = command("run", "program.py", "--device", "cuda", "--format", "json", cwd=folder)
    assert ended.code == 0, ended.err
    report: dict[str, Any] = json.loads(ended.out)
    return report, ended.err


def test_events_of_torch_itself_have_their_lines() -> None:
    x = torch.ones(256, 256, device="cuda")
    event = torch.Event("cuda")
    torch.cuda.synchronize()

    with syncwatch.watch(device="cuda") as watch:
        for _ in range(3):
            x = x @ x
            event.record()
            event.synchronize()
            x.sum().item()

    assert sorted((site.code, site.source, site.calls) for site in waits(watch)) == [
        ("SW101", "x.sum().item()", 3),
        ("SW403", "event.synchronize()", 3),
    ]
    assert all(site.host_blocked_us is not None for site in waits(watch))


def test_waits_that_torch_does_not_know_of_have_their_line_and_price_too() -> None:
    runtime = ctypes.CDLL("libcudart.so.13")
    x = torch.ones(256, 256, device="cuda")
    torch.cuda.synchronize()

    with syncwatch.watch(device="cuda") as watch:
        for _ in range(5):
            x = x @ x
            runtime.cudaStreamSynchronize(ctypes.c_void_p(torch.cuda.current_stream().cuda_stream))
            x.sum().item()

    assert {site.source.partition("(")[0]: site.calls for site in waits(watch)} == {
        "runtime.cudaStreamSynchronize": 5,
        "x.sum": 5,
    }
    assert all(site.gpu_idle_us is not None and site.host_blocked_us is not None for site in waits(watch))
    variant = watch.report.variants[0]
    assert variant.per_step.syncs == 10 and variant.per_step.gpu_idle_us is not None


def test_waiting_for_an_event_that_was_never_recorded_is_no_wait() -> None:
    torch.ones(1, device="cuda").item()

    with syncwatch.watch(device="cuda") as watch:
        torch.cuda.Event().synchronize()

    assert waits(watch) == []


def test_cuda_is_left_to_the_target_and_its_forks(tmp_path: Path) -> None:
    report, err = run(
        tmp_path,
        """
        import os, sys, torch
        print("initialized:", torch.cuda.is_initialized(), file=sys.stderr, flush=True)
        child = os.fork()
        if not child:
            value = torch.ones(3, device="cuda").sum().item()
            print("child:", value, file=sys.stderr, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print("parent:", torch.ones(4, device="cuda").sum().item(), file=sys.stderr, flush=True)
        """,
    )

    assert "initialized: False" in err and "child: 3.0" in err and "parent: 4.0" in err
    assert [(site["line"], site["calls"]) for site in report["variants"][0]["sites"] if site["code"] == "SW101"] == [
        (10, 1)
    ]
    assert report["variants"][0]["per_step"]["gpu_idle_us"] is not None


def test_cuda_that_a_thread_begins_has_times_too(tmp_path: Path) -> None:
    report, _ = run(
        tmp_path,
        """
        import threading, torch
        def work():
            x = torch.ones(512, 512, device="cuda")
            for _ in range(4):
                x = x @ x
                x.sum().item()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        """,
    )

    (variant,) = report["variants"]
    (site,) = [each for each in variant["sites"] if each["code"] == "SW101"]
    assert (site["line"], site["calls"]) == (7, 4)
    assert site["host_blocked_us"] is not None and variant["per_step"]["gpu_idle_us"] is not None


@pytest.mark.filterwarnings("ignore")
def test_a_wait_at_a_graph_break_has_its_line() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x * 2

        z = y + 1
        if z.sum() > 3:
            z = z + 1
        return z * y.max().item()

    compiled = torch.compile(model, backend="eager")
    x = torch.ones(8, device="cuda")
    compiled(x)

    with syncwatch.watch(device="cuda") as watch:
        compiled(x)

    assert sorted((site.source, site.function.rpartition(".")[2]) for site in waits(watch)) == [
        ("if z.sum() > 3:", "model"),
        ("return z * y.max().item()", "model"),
    ]


@pytest.mark.parametrize(
    "name", ["fasterrcnn_mobilenet_v3_large_fpn", "retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large"]
)
def test_detectors_of_torchvision_have_prices(name: str) -> None:
    detection = pytest.importorskip("torchvision.models.detection")
    model = getattr(detection, name)(weights=None, weights_backbone=None).cuda().eval()
    images = [torch.rand(3, 320, 320, device="cuda") for _ in range(2)]
    with torch.inference_mode():
        model(images)
        with syncwatch.watch(device="cuda") as watch:
            model(images)

    (variant,) = watch.report.variants
    assert variant.per_step.syncs and variant.per_step.gpu_idle_us is not None
    assert all(site.gpu_idle_us is not None for site in waits(watch))
    assert variant.coverage.seen == variant.per_step.syncs


def test_two_threads_keep_their_own_lines_and_times() -> None:
    x = torch.ones(512, 512, device="cuda")

    def work(stream: torch.cuda.Stream) -> None:
        with torch.cuda.stream(stream):
            for _ in range(50):
                (x @ x).sum().item()

    threads = [threading.Thread(target=work, args=(torch.cuda.Stream(),), name=f"worker {index}") for index in range(2)]
    with syncwatch.watch(device="cuda") as watch:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    (site,) = [each for each in waits(watch) if each.code == "SW101"]
    assert site.calls == 100 and site.gpu_idle_us is not None
    recording = watch.session.recordings[0]
    reads = [sync for sync in recording.syncs if sync.kind is SyncKind.STREAM]
    assert {recording.threads[sync.thread] for sync in reads} == {"worker 0", "worker 1"}
    assert all(sync.start_ns is not None for sync in reads)
