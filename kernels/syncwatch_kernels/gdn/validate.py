"""Refuses arguments that do not fit, with a sentence. Nothing here reads a tensor's values."""

from __future__ import annotations

from collections.abc import Sequence

import torch

LOW_PRECISION = (torch.bfloat16, torch.float16)
FLOATING = (torch.bfloat16, torch.float16, torch.float32)
_HEAD_DIMS = (16, 32, 64, 128)


def require_shape(name: str, tensor: torch.Tensor, shape: Sequence[int]) -> None:
    """Refuse `tensor` unless it has `shape`.

    Raises:
        ValueError: with the shape that was expected and the one that came.
    """
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"{name} must have shape {tuple(shape)}, but has {tuple(tensor.shape)}.")


def require_dims(name: str, tensor: torch.Tensor, dims: int, packed: bool = False) -> None:
    """Refuse `tensor` unless it has `dims` dimensions, the first of size 1 where it is `packed`.

    Raises:
        ValueError: with the number of dimensions or the batch size that came.
    """
    if tensor.dim() != dims:
        raise ValueError(f"{name} must have {dims} dimensions, but has shape {tuple(tensor.shape)}.")
    if packed and tensor.shape[0] != 1:
        raise ValueError(
            f"{name} must have a batch size of 1 with its sequences packed along dimension 1, "
            f"but has shape {tuple(tensor.shape)}."
        )


def require_dtype(name: str, tensor: torch.Tensor, allowed: Sequence[torch.dtype]) -> None:
    """Refuse `tensor` unless its dtype is one of `allowed`.

    Raises:
        ValueError: with the dtypes that are taken.
    """
    if tensor.dtype not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(str, allowed))}, but is {tensor.dtype}.")


def require_same_device(**tensors: torch.Tensor | None) -> None:
    """Refuse tensors that live on more than one device.

    Raises:
        ValueError: with the first tensor that is elsewhere.
    """
    present = [(name, tensor.device) for name, tensor in tensors.items() if tensor is not None]
    first_name, first_device = present[0]
    for name, device in present[1:]:
        if device != first_device:
            raise ValueError(f"{name} is on {device}, but {first_name} is on {first_device}.")


def require_dense_tokens(name: str, tensor: torch.Tensor, token_dim: int) -> None:
    """Refuse `tensor` unless each token's values are adjacent; tokens themselves may be any stride apart.

    Raises:
        ValueError: if the dimensions after `token_dim` have gaps.
    """
    expected = 1
    for dim in reversed(range(token_dim + 1, tensor.dim())):
        if tensor.shape[dim] > 1 and tensor.stride(dim) != expected:
            raise ValueError(f"{name} must hold each token's values side by side; call .contiguous() on it.")
        expected *= tensor.shape[dim]


def require_head_dim(name: str, size: int) -> None:
    """Refuse a head size that the kernels have no block for.

    Raises:
        ValueError: with the sizes that are taken.
    """
    if size not in _HEAD_DIMS:
        raise ValueError(f"The head size of {name} must be one of {_HEAD_DIMS}, but is {size}.")


def require_grouped_heads(key_heads: int, value_heads: int) -> None:
    """Refuse head counts in which a key head would serve a fraction of a value head.

    Raises:
        ValueError: with both counts.
    """
    if key_heads < 1 or value_heads % key_heads:
        raise ValueError(
            f"The number of value heads must be a multiple of the number of key heads, "
            f"but there are {value_heads} and {key_heads}."
        )


def require_cu_seqlens(cu_seqlens: torch.Tensor) -> None:
    """Refuse `cu_seqlens` unless it is a vector of at least two int32. Its values are the caller's promise.

    Raises:
        ValueError: with the shape or dtype that came.
    """
    require_dtype("cu_seqlens", cu_seqlens, (torch.int32,))
    if cu_seqlens.dim() != 1 or cu_seqlens.shape[0] < 2:
        raise ValueError(
            f"cu_seqlens must have shape (sequences + 1,), at least one sequence, but has {tuple(cu_seqlens.shape)}."
        )


def require_chunk_indices(chunk_indices: torch.Tensor) -> None:
    """Refuse `chunk_indices` unless it is contiguous int32 of shape (chunks, 2).

    Raises:
        ValueError: with the shape or dtype that came.
    """
    require_dtype("chunk_indices", chunk_indices, (torch.int32,))
    if chunk_indices.dim() != 2 or chunk_indices.shape[1] != 2 or not chunk_indices.is_contiguous():
        raise ValueError(
            f"chunk_indices must be contiguous with shape (chunks, 2), but has {tuple(chunk_indices.shape)}."
        )
