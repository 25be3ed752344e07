"""Answers: how is an operator run that is not torch's own? By its Python function, watched like any other code."""

from __future__ import annotations

import contextlib
from typing import Any

import torch


def run_custom(dispatch_mode: Any, function_mode: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a custom operator; where it is a `torch.library.custom_op`, its body is watched too."""
    from torch._library.custom_ops import OPDEFS

    definition = OPDEFS.get(func._schema.name)
    if definition is None:
        return func(*args, **kwargs)
    backends: dict[Any, Any] = definition._backend_fns
    body = backends.get("cuda") or backends.get(None) or definition._init_fn
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch._C._EnableTorchFunction())
        if not torch._C._len_torch_function_stack():
            # torch took the mode off to call the operator; in backward it is still on.
            stack.enter_context(function_mode)
        stack.enter_context(dispatch_mode)
        return body(*args, **kwargs)
