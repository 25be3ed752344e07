"""Counts the floating-point operations of an operator: by torch's own formulas, the common ones by hand.

torch's formulas map over every argument, which costs 20 us a call; the four products below are most of what runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Flops = Callable[[Any, Any, Any], int]
"""Takes the arguments, the named arguments and the output."""


def flops_of(overload: Any, name: str) -> Flops | None:
    """Return the formula of an operator, or None where it is not worth one."""
    by_hand = _BY_HAND.get(name)
    if by_hand is not None:
        return by_hand
    from torch.utils.flop_counter import flop_registry

    formula = flop_registry.get(overload.overloadpacket)
    if formula is None:
        return None

    def count(args: Any, kwargs: Any, out: Any) -> int:
        try:
            return int(formula(*args, **kwargs, out_val=out))
        except (AssertionError, IndexError, RuntimeError, TypeError, ValueError):
            # A formula may refuse shapes that the operator takes; the time is then that of the bytes.
            return 0

    return count


def _product(left: int) -> Flops:
    """Return the FLOPs of a matrix product whose left matrix is the argument at `left`."""

    def count(args: Any, kwargs: Any, out: Any) -> int:
        return 2 * int(out.numel()) * int(args[left].shape[-1])

    return count


_BY_HAND: dict[str, Flops] = {
    "aten.mm": _product(0),
    "aten.bmm": _product(0),
    "aten.addmm": _product(1),
    "aten.baddbmm": _product(1),
}
