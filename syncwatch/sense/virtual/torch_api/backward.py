"""Backward runs in the thread that calls it: its lines are that thread's, and its time follows one order.

On a GPU autograd has a thread for each device. Here that thread would have a clock of its own, and no line of Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from syncwatch.sense.patching import Patches
from syncwatch.sense.virtual.native.calls import calls


def patch(patches: Patches) -> None:
    """Run backward in the calling thread while the device is on."""
    graph: Any = torch.autograd.graph
    plain = graph._engine_run_backward
    native = calls()

    def run_backward(outputs: Sequence[Any], *arguments: Any, **named: Any) -> Any:
        native.sw_backward(1)
        try:
            with torch.autograd.set_multithreading_enabled(False):
                return plain(outputs, *arguments, **named)
        finally:
            native.sw_backward(-1)

    for owner in (graph, torch.autograd):
        patches.set(owner, "_engine_run_backward", run_backward)
