"""Metadata code in the manner of vLLM's GDN builder runs unmodified, and waits as often as was measured of it.

vLLM 0.18.1 waits eight times for a mixed batch on an H200, two of them in one `repeat_interleave`; 0.21.0 never.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import torch

import syncwatch
from tests.helpers.waits import sites_that_wait


def on_the_device(host: torch.Tensor) -> torch.Tensor:
    return host.pin_memory().to("cuda", non_blocking=True)


def build(*, mask_on_the_device: bool) -> list[torch.Tensor]:
    starts = on_the_device(torch.tensor([0, 1, 4, 7, 15], dtype=torch.int32))
    host_mask = torch.tensor([False, True, True, False])
    device_mask = on_the_device(host_mask)
    accepted = on_the_device(torch.tensor([1, 2, 1, 1], dtype=torch.int32))
    block_table = torch.arange(64, device="cuda", dtype=torch.int32).view(4, 16)
    lengths = starts.diff()
    speculative = device_mask if mask_on_the_device else host_mask
    if mask_on_the_device:
        token_mask = torch.repeat_interleave(device_mask, lengths)
    else:
        token_mask = torch.repeat_interleave(device_mask, lengths, output_size=15)
    order = torch.argsort(token_mask, stable=True)
    chosen = [
        block_table[speculative][:, :3],
        block_table[~speculative][:, 0],
        lengths[speculative],
        lengths[~speculative],
        accepted[speculative],
        (lengths > 1)[~speculative],
    ]
    offsets = torch.zeros(3, dtype=torch.int32, device="cuda")
    torch.cumsum(chosen[2], dim=0, out=offsets[1:])
    return [order[:9], order[9:], *chosen, offsets]


def test_masks_on_the_device_wait_eight_times_and_masks_on_the_host_never() -> None:
    with syncwatch.watch(device="virtual") as naive:
        first = [each.cpu().tolist() for each in build(mask_on_the_device=True)]
    with syncwatch.watch(device="virtual") as precomputed:
        second = [each.cpu().tolist() for each in build(mask_on_the_device=False)]

    found = {
        site.source.partition(" = ")[0].strip(): site.calls
        for site in sites_that_wait(naive.report.sites)
        if site.code != "SW104"
    }
    assert first == second
    assert sum(found.values()) == 8 and found["token_mask"] == 2
    assert {site.code for site in sites_that_wait(precomputed.report.sites)} <= {"SW102", "SW104"}


def test_tasks_threads_and_backward_are_attributed_to_their_own_lines() -> None:
    async def task(x: torch.Tensor) -> Any:
        await asyncio.sleep(0)
        return x.sum().item()

    async def tasks(x: torch.Tensor) -> Any:
        return await asyncio.gather(task(x), task(x))

    with syncwatch.watch(device="virtual") as watch:
        x = torch.ones(4, device="cuda", requires_grad=True)
        assert asyncio.run(tasks(x.detach())) == [4.0, 4.0]
        worker = threading.Thread(target=lambda: x.detach().tolist(), name="worker")
        worker.start()
        worker.join()
        kept = x[x.detach() > 0]
        torch.autograd.backward(kept.sum())

    found = {(site.code, site.source): site.calls for site in sites_that_wait(watch.report.sites)}
    assert found == {
        ("SW101", "return x.sum().item()"): 2,
        ("SW102", 'worker = threading.Thread(target=lambda: x.detach().tolist(), name="worker")'): 1,
        ("SW201", "kept = x[x.detach() > 0]"): 1,
        ("SW208", "torch.autograd.backward(kept.sum())"): 1,
    }
    assert "worker" in watch.session.recordings[0].threads
