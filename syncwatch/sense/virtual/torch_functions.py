"""Answers: how does torch's own Python stay watched? Its functions run their bodies instead of asking the mode.

A function of `torch.nn.functional` asks `has_torch_function` first, and a mode that is on makes it hand itself to the
mode, which torch switches off meanwhile: everything inside would go unseen. While the device is on, those questions are
answered by the arguments' types alone, so that the bodies run and each operator inside reaches the mode by itself.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import overrides

from syncwatch.sense.virtual.patching import Patches

_PLAIN = {torch.Tensor, torch.nn.Parameter}


def _overrides(value: Any) -> bool:
    kind = type(value)
    if kind in _PLAIN or not hasattr(kind, "__torch_function__"):
        return False
    return kind.__torch_function__ is not torch._C._disabled_torch_function_impl


def _any_overrides(values: Any) -> bool:
    return any(_overrides(value) for value in values)


def _variadic(*values: Any) -> bool:
    return _any_overrides(values)


def patch(patches: Patches) -> None:
    """Answer by types alone in every module of torch that is loaded."""
    replacements = {
        overrides.has_torch_function: _any_overrides,
        overrides.has_torch_function_unary: _overrides,
        overrides.has_torch_function_variadic: _variadic,
    }
    for name, module in list(sys.modules.items()):
        if not name.startswith("torch") or module is overrides or module is None:
            continue
        for attribute in ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"):
            before = vars(module).get(attribute)
            if before is not None and before in replacements:
                patches.set(module, attribute, replacements[before])
