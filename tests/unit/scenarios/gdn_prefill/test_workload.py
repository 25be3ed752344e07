"""The gdn-prefill scenario: both variants compute the same, and only one of them asks the device."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from syncwatch_scenarios.gdn_prefill import SCENARIO, PrefillOptions
from syncwatch_scenarios.gdn_prefill.prefill_run import draw_batch, upload_metadata
from syncwatch_scenarios.hybrid_model.sizes import PRESETS

from syncwatch.bench import OwnParameters, Scenario, Workload
from syncwatch.errors import UsageError

CPU = torch.device("cpu")
scenario: Scenario = SCENARIO


def build(*, cache_miss: bool = False) -> Workload:
    return scenario.build(PrefillOptions("tiny", tokens=20, batch=2, layers=6, cache_miss=cache_miss), CPU)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counted: list[int] = []
    plain = torch.Tensor.tolist

    def tolist(tensor: torch.Tensor) -> object:
        counted.append(tensor.numel())
        return plain(tensor)

    monkeypatch.setattr(torch.Tensor, "tolist", tolist)
    return counted


def test_the_variants_give_the_same_bits_and_steps_differ() -> None:
    workload = build()

    variants = scenario.every_variant
    outputs = {(name, index): workload.step(name, index) for name in variants for index in range(2)}

    assert outputs["naive", 0].shape == (20, 64)
    assert torch.isfinite(outputs["naive", 0]).all()
    assert variants == ("naive", "precomputed", "precomputed-pageable")
    for variant in variants[1:]:
        assert torch.equal(outputs["naive", 0], outputs[variant, 0])
        assert torch.equal(outputs["naive", 1], outputs[variant, 1])
    assert not torch.equal(outputs["naive", 0], outputs["naive", 1])
    assert torch.equal(workload.step("naive", 0), outputs["naive", 0])


@pytest.mark.parametrize(
    ("variant", "cache_miss", "expected"),
    [("naive", False, 1), ("naive", True, 5), ("precomputed", False, 0), ("precomputed-pageable", True, 0)],
)
def test_reads_a_step(variant: str, cache_miss: bool, expected: int, reads: list[int]) -> None:
    workload = build(cache_miss=cache_miss)

    workload.step(variant, 0)

    assert len(reads) == expected


def test_one_layer_is_enough() -> None:
    workload = scenario.build(PrefillOptions("tiny", tokens=1, layers=1), CPU)

    assert workload.step("naive", 0).shape == (1, 64)


def test_batches_are_ragged_complete_and_repeatable() -> None:
    batches = [draw_batch(8192, 8, seed=0, index=index) for index in range(20)]

    for batch in batches:
        assert sum(batch.lengths) == 8192
        assert len(batch.lengths) == len(batch.is_new) == 8
        assert min(batch.lengths) >= 1
    assert len({batch.lengths for batch in batches}) == 20
    assert batches[3] == draw_batch(8192, 8, seed=0, index=3)
    assert batches[3] != draw_batch(8192, 8, seed=1, index=3)
    assert draw_batch(5, 5, seed=0, index=0).lengths == (1, 1, 1, 1, 1)


@pytest.mark.parametrize("pinned", [True, False])
def test_metadata_says_what_the_batch_is(pinned: bool) -> None:
    batch = draw_batch(300, 4, seed=0, index=0)

    metadata = upload_metadata(batch, CPU, precomputed=True, pinned=pinned)

    sums: list[int] = metadata.cu_seqlens.tolist()
    assert tuple(end - start for start, end in pairwise(sums)) == batch.lengths
    assert tuple(metadata.is_new.tolist()) == batch.is_new
    assert metadata.chunk_indices is not None
    assert metadata.chunk_offsets is not None
    assert len(metadata.chunk_indices) == metadata.chunk_offsets[-1] == sum(-(-each // 64) for each in batch.lengths)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (PrefillOptions("qwen3.5-397"), "no preset 'qwen3.5-397'. Did you mean qwen3.5-397b"),
        (PrefillOptions("gpt"), "Choose from tiny, "),
        (PrefillOptions("tiny", tokens=0), "--tokens must be from 1 to "),
        (PrefillOptions("tiny", tokens=4, batch=5), "--batch must be from 1 to 4 here, but is 5"),
        (PrefillOptions("tiny", batch=0), "--batch must be from 1 to "),
        (PrefillOptions("tiny", layers=0), "--layers must be from 1 to "),
        (PrefillOptions("tiny", lengths="8x"), "--lengths '8x' names no batch. Give it as 8x1024"),
        (PrefillOptions("tiny", lengths="100,0"), "--lengths '100,0' names no batch"),
        (PrefillOptions("tiny", lengths="70000x1"), "--lengths '70000x1' names no batch"),
        (PrefillOptions("tiny", lengths="65536x9999"), "the sum of --lengths must be from 1 to 1000000 here"),
        (PrefillOptions("tiny", tokens=8, lengths="8x1"), "--lengths 8x1 and --tokens say the same twice"),
        (PrefillOptions("tiny", batch=8, lengths="8x1"), "Leave --batch out"),
        (PrefillOptions("tiny", regime="balance"), "no regime 'balance'. Did you mean balanced"),
        (PrefillOptions("tiny", regime="x"), "Choose from gpu-bound, balanced, host-bound"),
    ],
)
def test_options_out_of_range_are_refused(options: PrefillOptions, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        scenario.build(options, CPU)


def test_presets_and_defaults() -> None:
    workload = build()

    assert scenario.read({}, virtual=True).preset == "tiny"
    assert scenario.read({}, virtual=False).preset in PRESETS
    assert isinstance(workload, OwnParameters)
    assert workload.parameters["layers"] == "5 GDN, 1 in place of attention"
    for shape in PRESETS.values():
        assert shape.value_heads % shape.key_heads == 0
