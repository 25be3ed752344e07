"""Answers: how is an operator run that is not torch's own? By its Python function, watched like any other code."""

from __future__ import annotations

from typing import Any

from syncwatch.sense.virtual.callbacks import function_mode_on


def run_custom(dispatch_mode: Any, function_mode: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a custom operator; where it is a `torch.library.custom_op`, its body is watched too."""
    from torch._library.custom_ops import OPDEFS

    definition = OPDEFS.get(func._schema.name)
    if definition is None:
        return func(*args, **kwargs)
    backends: dict[Any, Any] = definition._backend_fns
    body = backends.get("cuda") or backends.get(None) or definition._init_fn
    with function_mode_on(function_mode), dispatch_mode:
        return body(*args, **kwargs)
