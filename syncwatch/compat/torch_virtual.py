"""What the virtual device replaces or asks of torch by undocumented names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from syncwatch.compat.private_name import Builds, PrivateName
from syncwatch.compat.torch_cuda import CALL_AT_START, SLEEP

_TRIED = "2.9 to 2.15"
_CHOICE = "which kernels attention may use is told as for a CPU."
_FUSED = "TorchScript may want a compiler for the GPU."
_HISTORY = "the memory's history is told as without a GPU."

INITIALIZED = PrivateName("torch.cuda._initialized", _TRIED, "checkpoints do not keep the GPU's random state.")
LAZY_INIT = PrivateName("torch.cuda._lazy_init", _TRIED, "a first use of CUDA looks for a driver.")
DEVICE_GUARD = PrivateName("torch.cuda._DeviceGuard", _TRIED, "code of torch's that chooses a GPU looks for a driver.")
MAY_FLASH = PrivateName("torch._C._can_use_flash_attention", _TRIED, _CHOICE)
MAY_SAVE_MEMORY = PrivateName("torch._C._can_use_mem_efficient_attention", _TRIED, _CHOICE)
MAY_CUDNN = PrivateName("torch._C._can_use_cudnn_attention", _TRIED, _CHOICE)
GPU_FUSER_IS_ON = PrivateName("torch._C._jit_can_fuse_on_gpu", _TRIED, _FUSED)
SET_GPU_FUSER = PrivateName("torch._C._jit_override_can_fuse_on_gpu", _TRIED, _FUSED)
TEXPR_FUSER_IS_ON = PrivateName("torch._C._jit_texpr_fuser_enabled", _TRIED, _FUSED)
SET_TEXPR_FUSER = PrivateName("torch._C._jit_set_texpr_fuser_enabled", _TRIED, _FUSED)
FLATTEN_WEIGHTS = PrivateName(
    "torch._use_cudnn_rnn_flatten_weight", _TRIED, "the weights of a recurrent layer are laid beside each other."
)
RECORD_HISTORY = PrivateName("torch.cuda.memory._record_memory_history", _TRIED, _HISTORY)
SNAPSHOT = PrivateName("torch.cuda.memory._snapshot", _TRIED, _HISTORY)
DUMP_SNAPSHOT = PrivateName("torch.cuda.memory._dump_snapshot", _TRIED, _HISTORY)
EMPTY_PINNED_CACHE = PrivateName(
    "torch._C._host_emptyCache", _TRIED, "page-locked memory is kept.", Builds.SOME_VERSIONS
)
CLEAR_WORKSPACES = PrivateName(
    "torch._C._cuda_clearCublasWorkspaces", _TRIED, "workspaces of cuBLAS are kept.", Builds.FOR_CUDA
)
JITERATOR = PrivateName(
    "torch._C._cuda_jiterator_compile_and_launch_kernel", _TRIED, "jiterator looks for a GPU.", Builds.FOR_CUDA
)
TO_DLPACK = PrivateName("torch._C._to_dlpack", _TRIED, "memory of the device can be handed out as a GPU's.")
NO_DISPATCH = PrivateName("torch._C._DisableTorchDispatch", _TRIED, "tensor subclasses are asked by the device.")
NAMES = (
    *(INITIALIZED, LAZY_INIT, CALL_AT_START, DEVICE_GUARD, SLEEP, MAY_FLASH, MAY_SAVE_MEMORY, MAY_CUDNN),
    *(GPU_FUSER_IS_ON, SET_GPU_FUSER, TEXPR_FUSER_IS_ON, SET_TEXPR_FUSER, FLATTEN_WEIGHTS),
    *(RECORD_HISTORY, SNAPSHOT, DUMP_SNAPSHOT, EMPTY_PINNED_CACHE, CLEAR_WORKSPACES, JITERATOR, TO_DLPACK, NO_DISPATCH),
)


@contextlib.contextmanager
def no_subclass_is_asked() -> Iterator[None]:
    """Let no tensor subclass and no mode of the user's see the operators inside."""
    import torch

    with NO_DISPATCH.get()(), torch._C.DisableTorchFunction():
        yield


def stop_fusing() -> list[tuple[PrivateName, bool]]:
    """Let TorchScript run its operators one by one; return what `fuse_again` takes to undo it."""
    before = []
    for is_on, switch in ((GPU_FUSER_IS_ON, SET_GPU_FUSER), (TEXPR_FUSER_IS_ON, SET_TEXPR_FUSER)):
        before.append((switch, bool(is_on.get()())))
        switch.get()(False)
    return before


def fuse_again(before: list[tuple[PrivateName, bool]]) -> None:
    """Switch TorchScript's fusers as they were."""
    for switch, was_on in before:
        switch.get()(was_on)
