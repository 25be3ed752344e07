"""Stands for CUDA's libraries: cuDNN, cuFFT, the runtime, memory pools, copies for DataParallel.

A torch that was built for CUDA calls these libraries, which want a driver; one that was built for the CPU lacks them.
While the device is on, both say what a machine with one GPU would.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import torch

from syncwatch.compat import torch_cuda as names
from syncwatch.sense.patching import Patches
from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.native.library import calls
from syncwatch.sense.virtual.torch_api.cuda_streams import CUDA
from syncwatch.sense.virtual.torch_api.early_imports import replace

_CUDA = "13.0"
_CUDNN = 91900
"""The versions of the machine that the table was measured on; a build for CUDA says its own."""
_HALVES = frozenset({torch.float16, torch.bfloat16})
_FLOATS = frozenset({*_HALVES, torch.float32})
_WIDEST_HEAD = 256
_KINDS = ("Float", "Double", "Half", "BFloat16", "Byte", "Char", "Short", "Int", "Long", "Bool")


def patch(patches: Patches, engine: Engine) -> None:
    """Replace what needs a driver, and what a build for the CPU lacks."""
    _patch_libraries(patches)
    _patch_runtime(patches)
    _patch_pools(patches)
    _patch_parallel(patches)
    _patch_loading(patches)
    _patch_fusers(patches)
    for kind in _KINDS:
        patches.set_if_there(torch.cuda, f"{kind}Tensor", _legacy_type(f"{kind}Tensor"))


def _patch_fusers(patches: Patches) -> None:
    """Let TorchScript run its operators one by one: a fused kernel would be compiled for a GPU."""
    before = names.stop_fusing()
    patches.undo_with(lambda: names.fuse_again(before))


def _patch_loading(patches: Patches) -> None:
    """Take over the CUDA kernels of operator libraries as they are loaded; none of them would find a driver."""
    ops: Any = torch.ops
    plain = ops.load_library

    def load_library(path: Any) -> None:
        plain(path)
        calls().sw_look_at_fresh_operators()

    patches.set(ops, "load_library", load_library)


def _patch_libraries(patches: Patches) -> None:
    cudnn: Any = torch.backends.cudnn
    version = cudnn.version() or _CUDNN
    patches.set(cudnn, "is_available", lambda: True)
    patches.set(cudnn, "version", lambda: version)
    # A build for the CPU warns for each layer that it has no cuDNN.
    patches.set(cudnn, "is_acceptable", lambda tensor: tensor.is_cuda)
    # It copies the weights of a layer beside each other: kernels, and no wait. The CPU's layers do not ask for it.
    patches.set_private_if_there(names.FLATTEN_WEIGHTS, lambda: False)
    if torch.version.cuda is None:
        patches.set(torch.version, "cuda", _CUDA)
    patches.set_if_there(torch.backends.cuda, "cufft_plan_cache", _PlanCache())
    patches.set(torch.backends.cuda, "is_built", lambda: True)
    patches.set_or_add(names.MAY_FLASH, lambda params, debug=False: _fits(params, _HALVES))
    patches.set_or_add(names.MAY_SAVE_MEMORY, lambda params, debug=False: _fits(params, _FLOATS))
    patches.set_or_add(names.MAY_CUDNN, lambda params, debug=False: False)
    for name in ("preferred_linalg_library", "preferred_blas_library"):
        patches.set_if_there(torch.backends.cuda, name, lambda backend=None: backend or "default")
    for name, value in (("is_enabled", False), ("tuning_is_enabled", False), ("record_untuned_is_enabled", False)):
        patches.set_if_there(torch.cuda.tunable, name, lambda value=value: value)
    for name in ("enable", "tuning_enable", "record_untuned_enable"):
        patches.set_if_there(torch.cuda.tunable, name, lambda val=True: None)


def _fits(params: Any, dtypes: frozenset[torch.dtype]) -> bool:
    """Return whether one kernel can compute attention on an H200; the values of a nested tensor decide like others."""
    query, masked = params.query, params.attn_mask is not None
    fits = query.is_cuda and query.dtype in dtypes and query.size(-1) <= _WIDEST_HEAD
    return fits and not (masked and dtypes is _HALVES)


def _patch_runtime(patches: Patches) -> None:
    runtime = _Runtime()
    for owner in (torch.cuda, torch.cuda.profiler):
        replace(patches, owner, "cudart", lambda: runtime)
        replace(patches, owner, "check_error", _check_error)
    replace(patches, torch.cuda, "current_blas_handle", lambda: 1)


def _patch_pools(patches: Patches) -> None:
    @contextlib.contextmanager
    def use_mem_pool(pool: Any, device: Any = None) -> Iterator[None]:
        yield

    memory: Any = torch.cuda.memory
    kept: dict[int, torch.Tensor] = {}

    def allocate(size: int, device: Any = None, stream: Any = None) -> int:
        held = torch.empty(max(size, 1), dtype=torch.uint8, device="cuda")
        kept[held.data_ptr()] = held
        return held.data_ptr()

    def free(mem_ptr: int) -> None:
        kept.pop(mem_ptr, None)

    snapshot: dict[str, list[Any]] = {"segments": [], "device_traces": [[]]}
    for owner in (torch.cuda, memory):
        patches.set_if_there(owner, "MemPool", _MemPool)
        replace(patches, owner, "use_mem_pool", use_mem_pool)
        replace(patches, owner, "caching_allocator_alloc", allocate)
        replace(patches, owner, "caching_allocator_delete", free)
        replace(patches, owner, "get_allocator_backend", lambda: "native")
    patches.set_private_if_there(names.RECORD_HISTORY, lambda *arguments, **named: None)
    patches.set_private_if_there(names.SNAPSHOT, lambda *arguments, **named: dict(snapshot))
    patches.set_private_if_there(names.DUMP_SNAPSHOT, lambda *arguments, **named: None)


def _patch_parallel(patches: Patches) -> None:
    """Let DataParallel and its like copy to the one device there is."""

    def scatter(
        tensor: torch.Tensor,
        devices: Any = None,
        chunk_sizes: Any = None,
        dim: int = 0,
        streams: Any = None,
        **out: Any,
    ) -> tuple[torch.Tensor, ...]:
        return (tensor.to(CUDA, non_blocking=True),)

    def broadcast(tensor: torch.Tensor, devices: Any = None, **out: Any) -> tuple[torch.Tensor, ...]:
        return (tensor.to(CUDA),)

    def broadcast_coalesced(
        tensors: Sequence[torch.Tensor], devices: Any, buffer_size: int = 0
    ) -> tuple[list[torch.Tensor], ...]:
        return ([each.to(CUDA) for each in tensors],)

    def gather(tensors: Sequence[torch.Tensor], dim: int = 0, destination: Any = None, **out: Any) -> torch.Tensor:
        joined = tensors[0] if len(tensors) == 1 else torch.cat(tuple(tensors), dim)
        return joined.to("cpu" if destination in ("cpu", torch.device("cpu"), -1) else CUDA)

    comm: Any = torch.nn.parallel.comm
    for name, value in {
        "scatter": scatter,
        "broadcast": broadcast,
        "broadcast_coalesced": broadcast_coalesced,
        "gather": gather,
    }.items():
        patches.set_if_there(comm, name, value)


class _Runtime:
    """Stands for `torch.cuda.cudart()`: every function succeeds."""

    cudaError = SimpleNamespace(success=0)  # noqa: N815  # the runtime's own name

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cuda"):
            raise AttributeError(name)
        return (lambda code: "no error") if name == "cudaGetErrorString" else lambda *arguments: 0


def _check_error(res: int) -> None:
    if res:
        raise RuntimeError(f"CUDA error {res}")


class _PlanCache:
    """Stands for the plan cache of cuFFT: empty, as nothing is planned."""

    size = 0
    max_size = 4096

    def __getitem__(self, device: Any) -> _PlanCache:
        return self

    def clear(self) -> None:
        """Do nothing."""


class _MemPool:
    """Stands for `torch.cuda.MemPool`; memory here has no pools."""

    made: ClassVar[int] = 0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        _MemPool.made += 1
        self.id = (0, _MemPool.made)

    def use_count(self) -> int:
        """Return how many use it."""
        return 1

    def snapshot(self, *arguments: Any, **named: Any) -> list[Any]:
        """Return its segments."""
        return []


def _legacy_type(name: str) -> type:
    """Return what stands for `torch.cuda.FloatTensor` and its like: makes tensors, and knows them again."""
    plain: Any = getattr(torch, name)

    class Meta(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, torch.Tensor) and value.dtype == plain.dtype and value.is_cuda

        def __call__(cls, *arguments: Any, **named: Any) -> Any:
            if arguments and isinstance(arguments[0], (list, tuple)) and not isinstance(arguments[0], torch.Size):
                return torch.tensor(arguments[0], dtype=plain.dtype, device=CUDA)
            if arguments and isinstance(arguments[0], torch.Tensor):
                return arguments[0].to(CUDA, plain.dtype)
            sizes = arguments[0] if arguments and isinstance(arguments[0], torch.Size) else arguments or (0,)
            return torch.empty(tuple(sizes), dtype=plain.dtype, device=CUDA)

    # By its whole name: `Tensor.type` asks the class what it is called.
    return Meta(f"torch.cuda.{name}", (), {"__module__": "torch.cuda", "dtype": plain.dtype, "is_cuda": True})
