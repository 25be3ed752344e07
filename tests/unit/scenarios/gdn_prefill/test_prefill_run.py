"""What `gdn-prefill` makes of its options: which sequences, and how much the host has to do."""

from __future__ import annotations

import pytest
from syncwatch_scenarios.gdn_prefill import PrefillOptions
from syncwatch_scenarios.gdn_prefill.host_work import LAUNCH_US_PER_LAYER, LIGHT_US, PACES
from syncwatch_scenarios.gdn_prefill.prefill_run import parse_lengths, prefill_run


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("1x8192", (8192,)),
        ("8x1024", (1024,) * 8),
        ("2x512,100", (512, 512, 100)),
        ("7, 9", (7, 9)),
        ("ragged", None),
    ],
)
def test_lengths_are_read_as_they_are_written(text: str, lengths: tuple[int, ...] | None) -> None:
    assert parse_lengths(text) == lengths


def test_fixed_lengths_are_those_of_every_step_and_new_sequences_are_drawn() -> None:
    run = prefill_run(PrefillOptions("qwen3.5-397b", lengths="8x1024"))

    batches = [run.batch(index) for index in range(8)]

    assert {batch.lengths for batch in batches} == {(1024,) * 8}
    assert len({batch.is_new for batch in batches}) > 1
    assert (run.shape.tokens, run.shape.batch) == (8192, 8)
    assert run.parameters["sequences a step"] == "8 of 1024"


def test_ragged_is_what_runs_without_lengths() -> None:
    assert prefill_run(PrefillOptions("tiny", lengths="ragged")) == prefill_run(PrefillOptions("tiny"))
    assert prefill_run(PrefillOptions("tiny")).parameters["sequences a step"] == "3, ragged"
    assert prefill_run(PrefillOptions("tiny", lengths="5,20,9")).parameters["sequences a step"] == "3 of 5 to 20"


def test_without_a_regime_the_host_does_nothing_but_launch() -> None:
    run = prefill_run(PrefillOptions("qwen3.5-397b"))

    assert run.work is None
    assert (run.parameters["regime"], run.parameters["host work"]) == ("none", "launching only")


@pytest.mark.parametrize("preset", ["qwen3.5-2b", "qwen3-next-80b", "qwen3.5-397b"])
@pytest.mark.parametrize(("regime", "share"), [("balanced", 1), ("host-bound", 2)])
def test_launches_and_own_work_together_take_the_share_of_the_gpu_time_that_the_regime_says(
    preset: str, regime: str, share: int
) -> None:
    run = prefill_run(PrefillOptions(preset, regime=regime, lengths="1x8192"))
    layers = run.shape.layers
    gpu_us = PACES[preset].gpu_ns * layers * 8192 / 1000

    assert run.work is not None
    assert run.work.mean_us + LAUNCH_US_PER_LAYER * layers == pytest.approx(share * gpu_us, abs=2)


def test_the_report_says_how_much_the_host_has_to_do() -> None:
    run = prefill_run(PrefillOptions("qwen3.5-397b", regime="balanced"))

    assert run.shape.tokens == 768
    assert run.work is not None
    assert run.parameters["regime"] == "balanced"
    expected = f"{run.work.mean_us / 1000:g} ms a step besides launching, 50 to 150 % of it by step"
    assert run.parameters["host work"] == expected


@pytest.mark.parametrize("preset", ["qwen3.5-2b", "qwen3-next-80b", "qwen3.5-397b"])
def test_by_default_a_balance_takes_less_work_of_the_hosts_own_than_launching(preset: str) -> None:
    run = prefill_run(PrefillOptions(preset, regime="balanced"))

    assert run.work is not None
    assert LIGHT_US < run.work.mean_us < LAUNCH_US_PER_LAYER * run.shape.layers


def test_a_regime_never_leaves_the_host_with_less_than_an_engine_has_to_do() -> None:
    gpu_bound = prefill_run(PrefillOptions("qwen3.5-397b", regime="gpu-bound"))
    few_tokens = prefill_run(PrefillOptions("qwen3.5-397b", regime="balanced", tokens=16))

    assert gpu_bound.shape.tokens == 8192
    assert [run.work.mean_us for run in (gpu_bound, few_tokens) if run.work] == [LIGHT_US, LIGHT_US]
