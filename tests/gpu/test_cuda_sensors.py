"""The CUDA sensors on a real GPU: every wait has a line, the virtual device agrees, and no hook stays behind."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import syncwatch
from syncwatch.model.events import SyncKind
from tests.helpers.command import ROOT
from tests.helpers.command import syncwatch as command

pytestmark = pytest.mark.gpu


def sites(report: dict[str, Any]) -> dict[str, list[tuple[str, int, str, int]]]:
    return {
        # The virtual device has no caching allocator, and so none of its calls.
        variant["name"]: sorted(
            (each["file"], each["line"], each["code"], each["calls"])
            for each in variant["sites"]
            if each["kind"] != "allocation"
        )
        for variant in report["variants"]
    }


def run(folder: Path, device: str, *arguments: str) -> dict[str, Any]:
    path = folder / f"{device}.json"
    ended = command("run", *arguments, "--device", device, "-o", str(path), "--format", "json", cwd=ROOT)
    assert ended.code == 0, ended.err
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def test_generate_waits_at_the_same_lines_on_both_devices(tmp_path: Path) -> None:
    script = "tests/programs/llama_generate.py"

    cuda, virtual = run(tmp_path, "cuda", script), run(tmp_path, "virtual", script)

    assert sites(cuda) == sites(virtual)
    assert cuda["coverage"]["seen"] == cuda["coverage"]["attributed"] == 45


@pytest.mark.parametrize("more", [(), ("--cache-miss",)], ids=["cached", "cache missed"])
def test_prefill_waits_at_the_same_lines_on_both_devices(tmp_path: Path, more: tuple[str, ...]) -> None:
    arguments = ("gdn-prefill", "--preset", "tiny", "--steps", "3", "--warmup", "1", *more)

    cuda, virtual = run(tmp_path, "cuda", *arguments), run(tmp_path, "virtual", *arguments)

    assert sites(cuda) == sites(virtual)
    assert sites(cuda)["precomputed"] == []
    assert cuda["comparison"]["outputs_equal"] and virtual["comparison"]["outputs_equal"]
    for figure in ("syncs", "d2h_copies", "d2h_bytes", "h2d_copies", "h2d_bytes"):
        found = [[each["per_step"][figure] for each in report["variants"]] for report in (cuda, virtual)]
        assert found[0] == found[1], figure


def test_waits_of_every_kind_are_joined_to_their_line_and_time() -> None:
    x = torch.arange(64, device="cuda", dtype=torch.float32)
    host = torch.zeros(64)
    torch.cuda.synchronize()

    with syncwatch.watch(device="cuda") as watch:
        x.sum().item()
        x[x > 3]
        torch.cuda.synchronize()
        torch.cuda.current_stream().synchronize()
        host.copy_(x, non_blocking=True)

    sites = [site for site in watch.report.sites if site.kind is not SyncKind.ALLOCATION]
    found = {(site.code, site.explicit) for site in sites}
    assert found == {("SW101", False), ("SW201", False), ("SW401", True), ("SW402", True), ("SW304", False)}
    assert all(site.host_blocked_us is not None for site in sites)
    assert (watch.report.coverage.seen, watch.report.coverage.attributed) == (5, 5)


def test_a_wait_in_the_backward_pass_has_the_line_that_called_backward() -> None:
    leaf = torch.linspace(-1, 1, 64, device="cuda", requires_grad=True)
    mask = leaf.detach() > 0
    torch.autograd.backward(leaf[mask].sum())

    with syncwatch.watch(device="cuda") as watch:
        loss = leaf[mask].sum()
        torch.autograd.backward(loss)

    lines = {site.source for site in watch.report.sites if site.kind is not SyncKind.ALLOCATION}
    assert lines == {"loss = leaf[mask].sum()", "torch.autograd.backward(loss)"}


def test_nothing_stays_hooked() -> None:
    torch.cuda.set_sync_debug_mode("default")
    before = (warnings.showwarning, list(warnings.filters), dict(vars(torch.Tensor)))

    with pytest.raises(ZeroDivisionError), syncwatch.watch(device="cuda"):
        _ = 1 / 0

    after = (warnings.showwarning, list(warnings.filters), dict(vars(torch.Tensor)))
    assert before == after
    assert torch.cuda.get_sync_debug_mode() == 0


def test_a_watch_inside_a_watch_has_lines_and_says_that_it_has_no_times() -> None:
    x = torch.ones(4, device="cuda")

    with syncwatch.watch(device="cuda") as outer, syncwatch.watch(device="cuda") as inner:
        x.sum().item()

    # The first read of a process makes the allocator ask for pinned memory.
    (within,) = [site for site in inner.report.sites if site.kind is not SyncKind.ALLOCATION]
    (around,) = [site for site in outer.report.sites if site.kind is not SyncKind.ALLOCATION]
    assert within.calls == around.calls == 1
    assert within.host_blocked_us is None
    assert around.host_blocked_us is not None
    assert any("no idle times" in note for variant in inner.report.variants for note in variant.notes)


def test_waits_in_libraries_under_torch_have_their_line() -> None:
    """Solvers, Thrust and ctypes call the driver themselves; a scenario's sense pass sees them all the same."""
    # In a process of its own: torch.profiler, once used, keeps CUPTI's callbacks.
    script = ROOT / "tests" / "programs" / "library_waits.py"
    ended = subprocess.run([sys.executable, str(script)], cwd=ROOT, capture_output=True, text=True, check=True)

    assert set(ended.stdout.splitlines()) >= {
        "torch.linalg.eigh(matrix)",
        "torch.unique(pairs, dim=0)",
        "driver.cuStreamSynchronize(None)",
    }


def test_the_allocator_going_to_the_driver_is_a_line_of_its_own() -> None:
    torch.cuda.empty_cache()
    with syncwatch.watch(device="cuda") as watch:
        big = torch.empty(512 << 20, dtype=torch.uint8, device="cuda")
        pinned = torch.empty(64 << 20, dtype=torch.uint8).pin_memory()

    found = {site.code: site.api for site in watch.report.sites}
    assert found["SW601"] == "cudaMalloc" and found["SW602"].startswith("cudaHost")
    assert watch.report.variants[0].per_step.syncs == 0
    assert big.numel() + pinned.numel() > 0


def test_beside_another_profiler_there_are_lines_and_prices_that_were_asked_for_are_missed(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("import torch\ntorch.ones(3, device='cuda').sum().item()\n")
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import sys, torch\n"
        "from syncwatch.cli.entry import main\n"
        "with torch.profiler.profile():\n"
        f"    sys.argv = ['syncwatch', 'run', {str(script)!r}, '--device', 'cuda', *sys.argv[1:]]\n"
        "    main()\n"
    )

    ended = {
        asked: subprocess.run(
            [sys.executable, str(driver), *asked], cwd=ROOT, capture_output=True, text=True, check=False
        )
        for asked in ((), ("--prices",))
    }

    assert [each.returncode for each in ended.values()] == [0, 3], ended
    assert all("SW101" in each.stdout and "no idle times" in each.stdout for each in ended.values())
    assert "Prices were asked for" in ended["--prices",].stderr
