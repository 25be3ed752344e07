"""What the virtual device does not do: compiling is left out with a note, distributed work and forks are refused.

CUDA cannot be initialized twice, and torch says so in a fork of a process that used the device. One that was forked
before may use it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.patching import Patches
from syncwatch.sense.processes import forks
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.native.library import calls

EAGER_NOTE = "torch.compile ran eagerly on the virtual device: what compiled code would do differently is not shown."


def patch(patches: Patches, engine: Engine) -> None:
    """Replace `torch.compile`, and refuse process groups."""

    def compile(model: Any = None, **options: Any) -> Any:
        engine.notes.add(EAGER_NOTE)
        return (lambda function: function) if model is None else model

    def init_process_group(*arguments: Any, **named: Any) -> None:
        raise NotMeasuredError(
            "torch.distributed cannot run on the virtual device yet. Run one rank without a process group, or use "
            "--device cuda."
        )

    patches.set(torch, "compile", compile)
    if torch.distributed.is_available():
        patches.set(torch.distributed, "init_process_group", init_process_group)
        patches.set(torch.distributed.distributed_c10d, "init_process_group", init_process_group)
    if "torch._dynamo" in sys.modules:
        patches.undo_with(_run_compiled_functions_eagerly())


def _run_compiled_functions_eagerly() -> Any:
    """Let functions that were compiled before the device started run as they are written; return what ends that."""
    stance: Any = torch.compiler.set_stance("force_eager")

    def end() -> None:
        stance.__exit__(None, None, None)

    return end


REFUSAL = (
    "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the 'spawn' start "
    "method"
)
"""The words of `torch.cuda._lazy_init`."""
_EMPTY = ("empty", "empty_like", "empty_strided", "empty_permuted")
"""What makes a tensor and launches nothing, so that nobody is told of it."""

_engine: Engine | None = None


def patch_forks(patches: Patches, engine: Engine) -> None:
    """Watch the forks of this process until `patches` are restored."""
    global _engine
    _engine = engine
    patches.undo_with(_forget)


def _forget() -> None:
    global _engine
    _engine = None


def _in_child() -> None:
    if _engine is None or not _engine.used:
        return
    refusing = Recorder(now_ns=_engine.now_ns)
    refusing.after = _refuse
    # Not by `record_into`: another thread of the parent may have held its lock, and nobody lets go of it here.
    _engine.recorders = (refusing,)
    calls().sw_record(1, 1)
    cuda: Any = torch.cuda
    cuda._is_in_bad_fork = lambda: True
    cuda.is_initialized = lambda: False
    cuda._lazy_init = cuda.init = _refuse
    for name in _EMPTY:
        setattr(torch, name, _hosts_alone(getattr(torch, name)))


def _refuse(_event: object = None) -> None:
    forks.note_activity(forks.ForkActivity.USED_GPU)
    raise RuntimeError(REFUSAL)


def _hosts_alone(plain: Callable[..., Any]) -> Callable[..., Any]:
    def make(*args: Any, **kwargs: Any) -> Any:
        made = plain(*args, **kwargs)
        if made.is_cuda:
            _refuse()
        return made

    return make


os.register_at_fork(after_in_child=_in_child)
