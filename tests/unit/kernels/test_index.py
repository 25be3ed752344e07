"""Chunk metadata has the right values, and costs at most one read of the device for each tensor of lengths."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import torch
from syncwatch_kernels.gdn import (
    ChunkMetadata,
    build_chunk_metadata,
    prepare_chunk_indices,
    prepare_chunk_metadata,
    prepare_chunk_offsets,
)
from syncwatch_kernels.gdn.index import MetadataCache


def cu(*sums: int) -> torch.Tensor:
    return torch.tensor(sums, dtype=torch.int32)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    counted: list[int] = []
    plain = torch.Tensor.tolist

    def tolist(tensor: torch.Tensor) -> object:
        counted.append(tensor.numel())
        return plain(tensor)

    monkeypatch.setattr(torch.Tensor, "tolist", tolist)
    yield counted


@pytest.mark.parametrize(
    ("sums", "indices", "offsets"),
    [
        ((0, 1), [[0, 0]], [0, 1]),
        ((0, 64), [[0, 0]], [0, 1]),
        ((0, 65), [[0, 0], [0, 1]], [0, 2]),
        ((0, 0, 130, 130, 140), [[1, 0], [1, 1], [1, 2], [3, 0]], [0, 0, 3, 3, 4]),
        ((0, 0, 0), [], [0, 0, 0]),
    ],
    ids=["one token", "a full chunk", "a token more", "zero lengths", "nothing"],
)
def test_chunks_of_a_batch(sums: tuple[int, ...], indices: list[list[int]], offsets: list[int]) -> None:
    expected_indices = torch.tensor(indices, dtype=torch.int32).reshape(-1, 2)

    for metadata in (build_chunk_metadata(cu(*sums)), prepare_chunk_metadata(cu(*sums))):
        assert torch.equal(metadata.chunk_indices, expected_indices)
        assert torch.equal(metadata.chunk_offsets, cu(*offsets))
        assert metadata.chunk_indices.dtype == metadata.chunk_offsets.dtype == torch.int32


def test_both_halves_of_the_metadata_cost_one_read(reads: list[int]) -> None:
    cu_seqlens = cu(0, 70, 100)

    prepare_chunk_indices(cu_seqlens)
    prepare_chunk_offsets(cu_seqlens)
    prepare_chunk_indices(cu_seqlens)

    assert reads == [2]


def test_another_object_is_read_again_even_with_equal_values(reads: list[int]) -> None:
    cu_seqlens = cu(0, 70, 100)

    prepare_chunk_indices(cu_seqlens)
    prepare_chunk_indices(cu_seqlens.view(-1))

    assert reads == [2, 2]


def test_an_object_that_was_written_since_is_read_again() -> None:
    cu_seqlens = cu(0, 70, 100)
    prepare_chunk_offsets(cu_seqlens)

    cu_seqlens[1] = 10

    assert prepare_chunk_offsets(cu_seqlens).tolist() == [0, 1, 3]


def test_inference_tensors_are_right_after_a_write_though_they_have_no_version() -> None:
    with torch.inference_mode():
        cu_seqlens = cu(0, 70, 100)
        prepare_chunk_offsets(cu_seqlens)

        cu_seqlens[1] = 10

        assert prepare_chunk_offsets(cu_seqlens).tolist() == [0, 1, 3]


def test_building_on_the_host_reads_nothing(reads: list[int]) -> None:
    build_chunk_metadata(cu(0, 70, 100))

    assert reads == []


def test_the_cache_forgets_what_was_used_least_recently() -> None:
    cache, metadata = MetadataCache(capacity=2), ChunkMetadata(cu(0), cu(0))
    first, second, third = cu(0, 1), cu(0, 1), cu(0, 1)

    cache.remember(first, metadata)
    cache.remember(second, metadata)
    cache.find(first)
    cache.remember(third, metadata)

    assert [cache.find(each) is metadata for each in (first, second, third)] == [True, False, True]


def test_the_cache_keeps_no_tensor_alive_and_knows_no_successor() -> None:
    cache, metadata = MetadataCache(capacity=2), ChunkMetadata(cu(0), cu(0))
    gone = cu(0, 1)
    cache.remember(gone, metadata)

    del gone
    gc.collect()

    assert all(cache.find(cu(0, 1)) is None for _ in range(20))


@pytest.mark.parametrize(
    "wrong",
    [torch.tensor([0, 5]), torch.tensor([0.0, 5.0]), cu(0), cu(0, 5).reshape(1, 2)],
    ids=["int64", "float", "no sequence", "two dimensions"],
)
def test_other_tensors_are_refused(wrong: torch.Tensor) -> None:
    for build in (build_chunk_metadata, prepare_chunk_metadata):
        with pytest.raises(ValueError, match=r"^cu_seqlens must "):
            build(wrong)
