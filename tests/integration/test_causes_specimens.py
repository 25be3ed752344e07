"""Every page of `docs/causes.md` runs: its example waits for the reason it names, and its replacement does not wait."""

from __future__ import annotations

import contextlib

import pytest
import torch

import syncwatch
from syncwatch.attribute.causes import CAUSES
from syncwatch.model.report import Site
from syncwatch.sense.virtual.clock.rates import h200
from tests.helpers.causes_forms import NAMES, run

ON_A_GPU_ALONE = {"SW601", "SW602"}
"""Their examples are larger than a machine without a GPU should hold."""

WAITS_LATE = {"SW104", "SW403"}
"""Causes whose replacement waits too, but only for an event that has already passed."""


ALLOCATOR = {"SW601", "SW602"}


def found(code: str, form: str, device: str) -> tuple[Site, ...]:
    # The first torch.compile in a process, here in another test, switches it off for good.
    torch.distributions.Distribution.set_default_validate_args(True)
    # The virtual device has to be on while the names are made. On CUDA there must be no second watch: one alone gets
    # CUPTI, and only CUPTI sees the allocators.
    with syncwatch.watch(device=device) if device == "virtual" else contextlib.nullcontext():
        names = {"torch": torch, **NAMES[code]()}
        with syncwatch.watch(device=device) as watch:
            run(code, form, names)
    # On a fresh device every example also fills the allocators' caches, which is no cause under test.
    beside = set() if code in ALLOCATOR or device == "cuda" else ALLOCATOR
    return tuple(site for site in watch.report.sites if site.code not in beside)


def test_every_cause_has_a_specimen() -> None:
    assert NAMES.keys() == CAUSES.keys()


@pytest.mark.parametrize("code", [code for code in CAUSES if code not in ON_A_GPU_ALONE])
def test_the_example_waits_for_the_reason_it_names(code: str) -> None:
    assert {site.code for site in found(code, "example", "virtual")} == {code}


@pytest.mark.parametrize("code", [code for code in CAUSES if code not in ON_A_GPU_ALONE | WAITS_LATE])
def test_what_to_use_instead_does_not_wait(code: str) -> None:
    assert found(code, "use_instead", "virtual") == ()


@pytest.mark.parametrize("code", sorted(WAITS_LATE))
def test_what_to_use_instead_finds_the_work_done(code: str) -> None:
    at_once = h200().sync_return_ns / 1e3
    late, early = found(code, "use_instead", "virtual"), found(code, "example", "virtual")

    assert [(site.code, site.host_blocked_us) for site in late] == [("SW403", at_once)]
    assert early[0].host_blocked_us is not None and early[0].host_blocked_us > at_once


@pytest.mark.gpu
@pytest.mark.parametrize("code", sorted(CAUSES.keys() - {"SW502", "SW900"}))
def test_the_pages_hold_on_a_gpu(code: str) -> None:
    torch.cuda.empty_cache()

    assert code in {site.code for site in found(code, "example", "cuda")}
    late = {"SW403"} if code in WAITS_LATE else set()
    assert {site.code for site in found(code, "use_instead", "cuda")} - {"SW601", "SW602"} <= late
