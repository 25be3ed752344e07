"""Where each chunk of a packed batch begins, how that reaches the device, and who has to wait for it.

The number of chunks decides the launch grid, so the host must know it. Where the lengths are known on the host, the
host counts the chunks. Where they exist on the device only, the host has to read them back: the hidden wait that the
`gdn-prefill` scenario is about.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from dataclasses import dataclass

import torch

from syncwatch_kernels.gdn.numerics import CHUNK_SIZE
from syncwatch_kernels.gdn.validate import require_chunk_indices, require_cu_seqlens, require_dtype, require_shape


def upload(host: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Enqueue a copy of `host` to `device` and return the copy at once.

    A copy from pageable memory may hold the host until the stream has drained, even with `non_blocking=True`. So the
    values go through pinned memory out of torch's own pool. The pool makes no driver call once it is warm, and hands a
    block out again only after the copy that reads it is done, however far the host runs ahead.

    Args:
        host: any shape and dtype, on the CPU.
        device: where the copy goes. Anything but CUDA is a plain copy.
    """
    if device.type != "cuda":
        return host.to(device, copy=True)
    staging = torch.empty(host.shape, dtype=host.dtype, pin_memory=True)
    staging.copy_(host)
    return staging.to(device, non_blocking=True)


@dataclass(frozen=True, slots=True)
class ChunkMetadata:
    """Where the chunks of a packed batch are; both tensors on one device."""

    chunk_indices: torch.Tensor
    """int32 [NT, 2]: the sequence of each chunk, and the chunk's number in that sequence."""

    chunk_offsets: torch.Tensor
    """int32 [N + 1]: chunks before each sequence; the last entry is NT."""


@dataclass(frozen=True, slots=True)
class _Entry:
    cu_seqlens: weakref.ref[torch.Tensor]
    version: int
    metadata: ChunkMetadata


class MetadataCache:
    """Remembers the metadata of the last few `cu_seqlens` objects; one wait per object instead of one per layer.

    The key is the identity of the tensor object, as comparing values would itself wait for the device. The tensor is
    held weakly, and its version counter shows whether it was written again. Inference tensors have no such counter, so
    they are not remembered. All users of one `cu_seqlens` must be on one stream.
    """

    def __init__(self, capacity: int = 8) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[int, _Entry] = OrderedDict()

    def find(self, cu_seqlens: torch.Tensor) -> ChunkMetadata | None:
        """Return what is remembered for this very object, unchanged since; otherwise None."""
        entry = self._entries.get(id(cu_seqlens))
        if entry is None or entry.cu_seqlens() is not cu_seqlens or entry.version != cu_seqlens._version:
            return None
        self._entries.move_to_end(id(cu_seqlens))
        return entry.metadata

    def remember(self, cu_seqlens: torch.Tensor, metadata: ChunkMetadata) -> None:
        """Remember `metadata`, and forget what was used least recently."""
        if cu_seqlens.is_inference():
            return
        self._entries[id(cu_seqlens)] = _Entry(weakref.ref(cu_seqlens), cu_seqlens._version, metadata)
        self._entries.move_to_end(id(cu_seqlens))
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)


_cache = MetadataCache()


def build_chunk_metadata(cu_seqlens_cpu: torch.Tensor) -> ChunkMetadata:
    """Build the metadata on the host; no device is touched.

    Args:
        cu_seqlens_cpu: int32 [N + 1] on the CPU, prefix sum of the lengths in tokens; lengths may be zero.

    Returns:
        Metadata on the CPU. A sequence of length zero has no chunk.

    Raises:
        ValueError: if `cu_seqlens_cpu` is not int32 [N + 1] on the CPU.
    """
    require_cu_seqlens(cu_seqlens_cpu)
    if cu_seqlens_cpu.device.type != "cpu":
        raise ValueError(f"cu_seqlens_cpu must be on the CPU, but is on {cu_seqlens_cpu.device}.")
    return _metadata_of_lengths(cu_seqlens_cpu.diff())


def prepare_chunk_metadata(cu_seqlens: torch.Tensor) -> ChunkMetadata:
    """Find the chunks of `cu_seqlens`, on its device.

    On a GPU this reads the lengths back, once for each `cu_seqlens` object, and so waits for everything queued before.
    `build_chunk_metadata` is the way that does not.

    Args:
        cu_seqlens: int32 [N + 1], prefix sum of the lengths in tokens; lengths may be zero.

    Raises:
        ValueError: if `cu_seqlens` is not int32 [N + 1].
    """
    require_cu_seqlens(cu_seqlens)
    metadata = _cache.find(cu_seqlens)
    if metadata is None:
        metadata = _read_back(cu_seqlens)
        _cache.remember(cu_seqlens, metadata)
    return metadata


def prepare_chunk_indices(cu_seqlens: torch.Tensor) -> torch.Tensor:
    """Return int32 [NT, 2], (sequence, chunk in sequence), on the device of `cu_seqlens`.

    See `prepare_chunk_metadata` for what it costs on a GPU and what it refuses.
    """
    return prepare_chunk_metadata(cu_seqlens).chunk_indices


def prepare_chunk_offsets(cu_seqlens: torch.Tensor) -> torch.Tensor:
    """Return int32 [N + 1], the chunks before each sequence, on the device of `cu_seqlens`.

    See `prepare_chunk_metadata` for what it costs on a GPU and what it refuses.
    """
    return prepare_chunk_metadata(cu_seqlens).chunk_offsets


def resolve_chunk_indices(cu_seqlens: torch.Tensor, chunk_indices: torch.Tensor | None) -> torch.Tensor:
    """Return `chunk_indices`, or where there are none, those that `prepare_chunk_indices` finds.

    Raises:
        ValueError: if either has the wrong shape or dtype.
    """
    require_cu_seqlens(cu_seqlens)
    if chunk_indices is None:
        return prepare_chunk_indices(cu_seqlens)
    require_chunk_indices(chunk_indices)
    return chunk_indices


def resolve_chunk_metadata(
    cu_seqlens: torch.Tensor, chunk_indices: torch.Tensor | None, chunk_offsets: torch.Tensor | None
) -> ChunkMetadata:
    """Return the metadata that was given, with what is missing of it filled in by `prepare_chunk_metadata`.

    Raises:
        ValueError: if one of them has the wrong shape or dtype.
    """
    chunk_indices = resolve_chunk_indices(cu_seqlens, chunk_indices)
    if chunk_offsets is None:
        chunk_offsets = prepare_chunk_offsets(cu_seqlens)
    require_dtype("chunk_offsets", chunk_offsets, (torch.int32,))
    require_shape("chunk_offsets", chunk_offsets, cu_seqlens.shape)
    return ChunkMetadata(chunk_indices, chunk_offsets)


def _read_back(cu_seqlens: torch.Tensor) -> ChunkMetadata:
    lengths = cu_seqlens.diff().tolist()
    host = _metadata_of_lengths(torch.tensor(lengths, dtype=torch.int32, device="cpu"))
    device = cu_seqlens.device
    return ChunkMetadata(upload(host.chunk_indices, device), upload(host.chunk_offsets, device))


def _metadata_of_lengths(lengths: torch.Tensor) -> ChunkMetadata:
    counts = (lengths + (CHUNK_SIZE - 1)) // CHUNK_SIZE
    offsets = torch.zeros(len(counts) + 1, dtype=torch.int32, device="cpu")
    offsets[1:] = counts.cumsum(0)
    sequence = torch.arange(len(counts), dtype=torch.int32, device="cpu").repeat_interleave(counts)
    chunk = torch.arange(len(sequence), dtype=torch.int32, device="cpu") - offsets[:-1].repeat_interleave(counts)
    return ChunkMetadata(torch.stack((sequence, chunk), dim=1), offsets)
