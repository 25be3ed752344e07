"""The contract of a scenario: which variants it has, and which options it refuses."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from syncwatch.bench.scenario import Scenario, ScenarioOptions, Workload, refuse_options, require_range, variants_of
from syncwatch.errors import UsageError


@dataclass(frozen=True)
class Plain:
    name: str = "plain"
    summary: str = "a scenario without further variants"
    variants: tuple[str, ...] = ("naive", "better")
    presets: tuple[str, ...] = ("tiny",)

    def default_preset(self, virtual: bool) -> str:
        return "tiny"

    def build(self, options: ScenarioOptions, device: torch.device) -> Workload:
        raise NotImplementedError


@dataclass(frozen=True)
class Extended(Plain):
    extra_variants: tuple[str, ...] = ("worse",)


@pytest.mark.parametrize(
    ("scenario", "expected"), [(Plain(), ("naive", "better")), (Extended(), ("naive", "better", "worse"))]
)
def test_further_variants_come_after_those_that_run_by_default(scenario: Scenario, expected: tuple[str, ...]) -> None:
    assert variants_of(scenario) == expected


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (ScenarioOptions(cache_miss=True), "--cache-miss"),
        (ScenarioOptions(regime="balanced"), "--regime"),
        (ScenarioOptions(tokens=0), "--tokens"),
    ],
)
def test_an_option_that_means_nothing_is_named(options: ScenarioOptions, named: str) -> None:
    with pytest.raises(UsageError, match=f"^{named} means nothing in plain. Leave it out.$"):
        refuse_options("plain", options, "cache_miss", "regime", "tokens")


@pytest.mark.parametrize("given", ["preset", "batch"])
def test_only_an_option_that_was_given_is_refused(given: str) -> None:
    options = ScenarioOptions(preset="tiny", batch=3)
    with pytest.raises(UsageError, match=f"^--{given} means nothing in plain"):
        refuse_options("plain", options, "cache_miss", "regime", "lengths", "tokens", given)


@pytest.mark.parametrize(("value", "fine"), [(0, False), (1, True), (4, True), (5, False)])
def test_a_range_has_both_its_ends(value: int, fine: bool) -> None:
    if fine:
        require_range("--batch", value, 1, 4)
        return
    with pytest.raises(UsageError, match=f"--batch must be from 1 to 4 here, but is {value}."):
        require_range("--batch", value, 1, 4)
