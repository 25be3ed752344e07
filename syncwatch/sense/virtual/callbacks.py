"""Answers: what do Python callbacks see that torch calls in the middle of its work? The device, like any other code.

torch switches a function mode off while it runs what the mode passed on. A hook for saved tensors is called in there,
and would see plain CPU tensors. And autograd makes tensors (zeros, ranges) from what it differentiates, without naming
any: they belong where that is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.patching import Patches


def patch(patches: Patches, engine: Engine) -> None:
    """Watch hooks for saved tensors, and tell autograd's own tensors where they belong."""
    graph: Any = torch.autograd.graph
    plain_init, plain_backward = graph.saved_tensors_hooks.__init__, graph._engine_run_backward

    def __init__(self: Any, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:  # noqa: N807
        plain_init(self, _watched(engine, pack_hook), _watched(engine, unpack_hook))

    def run_backward(outputs: Sequence[Any], *arguments: Any, **named: Any) -> Any:
        state = engine.state()
        outer, state.call = state.call, tuple(outputs)
        try:
            return plain_backward(outputs, *arguments, **named)
        finally:
            state.call = outer

    patches.set(graph.saved_tensors_hooks, "__init__", __init__)
    for owner in (graph, torch.autograd):
        patches.set(owner, "_engine_run_backward", run_backward)


def _watched(engine: Engine, hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def run(value: Any) -> Any:
        if not engine.active:
            return hook(value)
        with function_mode_on(engine.state().function_mode):
            return hook(value)

    return run


@contextlib.contextmanager
def function_mode_on(mode: Any) -> Iterator[None]:
    """Put the function mode on where torch has taken it off."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch._C._EnableTorchFunction())
        if mode is not None and not torch._C._len_torch_function_stack():
            stack.enter_context(mode)
        yield
