"""A torch.profiler that the watched program starts is noticed just before it takes CUPTI."""

from __future__ import annotations

import pytest
import torch

from syncwatch.compat.torch_cuda import PREPARE_PROFILER
from syncwatch.sense.cuda.user_profiler import before_profiler

owner = PREPARE_PROFILER.owner()


def profile() -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
        torch.ones(1)


def test_it_is_noticed_inside_the_block_alone() -> None:
    before = owner._prepare_profiler
    noticed: list[bool] = []
    with before_profiler(lambda: noticed.append(True)):
        profile()
        inside = len(noticed)
    profile()

    assert inside == len(noticed) >= 1
    assert owner._prepare_profiler is before


def test_it_is_noticed_before_torch_prepares(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(owner, "_prepare_profiler", lambda *_: order.append("torch"))
    with before_profiler(lambda: order.append("we")):
        owner._prepare_profiler(None, None)

    assert order == ["we", "torch"]


def test_watches_in_one_another_are_all_told_and_all_taken_off() -> None:
    before = owner._prepare_profiler
    told: list[str] = []
    with before_profiler(lambda: told.append("outer")), before_profiler(lambda: told.append("inner")):
        profile()

    assert set(told) == {"outer", "inner"}
    assert owner._prepare_profiler is before


def test_what_others_put_over_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "_prepare_profiler", owner._prepare_profiler)

    def others(*_: object) -> None:
        """Stand for another tool's."""

    with before_profiler(lambda: None):
        owner._prepare_profiler = others

    assert owner._prepare_profiler is others


def test_a_torch_without_the_name_is_watched_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(owner, "_prepare_profiler")
    with before_profiler(lambda: None):
        inside = hasattr(owner, "_prepare_profiler")

    assert not inside
