"""What the virtual device does not do: compiling is left out with a note, distributed work is refused."""

from __future__ import annotations

import sys
from typing import Any

import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.patching import Patches
from syncwatch.sense.virtual.engine import Engine

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
