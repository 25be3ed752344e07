"""Tells which operator of torch made a driver call, by the native stack of that call.

Each operator of ATen is called by a function of the class `at::_ops::NAME`, which libtorch exports, so the innermost of
these on the stack is the operator that waits: `_local_scalar_dense` inside `item`.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from syncwatch.sense.cuda.native.library import load

_DEEPEST = 128
_SYMBOL_BYTES = 4096
_OPERATOR = re.compile(r" _ZN2at4_ops(\d+)")


def native_stack() -> tuple[int, ...]:
    """Return the return addresses of the calling thread's native stack, innermost first."""
    addresses = (ctypes.c_void_p * _DEEPEST)()
    count = load().syncwatch_native_stack(addresses, _DEEPEST)
    return tuple(address for address in addresses[:count] if address)


@dataclass(slots=True)
class Operators:
    """Names the operators of native stacks; each address is looked up once, which takes 0.1 ms in libtorch."""

    _symbols: dict[int, str] = field(default_factory=dict)

    def of(self, addresses: Iterable[int]) -> str | None:
        """Return the innermost operator, as `aten.nonzero`; None where there is none of ATen's."""
        for address in addresses:
            name = operator_in(self._symbol(address))
            if name is not None:
                return f"aten.{name}"
        return None

    def _symbol(self, address: int) -> str:
        known = self._symbols.get(address)
        if known is None:
            text = ctypes.create_string_buffer(_SYMBOL_BYTES)
            load().syncwatch_symbol(address, text, _SYMBOL_BYTES)
            known = self._symbols[address] = text.value.decode(errors="replace")
        return known


def operator_in(symbol: str) -> str | None:
    """Return the operator that the function `symbol` calls, without its overload; None for another function.

    Args:
        symbol: an object, a space and a mangled name, as `libtorch_cpu.so _ZN2at4_ops12index_Tensor4callE...`.
    """
    match = _OPERATOR.search(symbol)
    if match is None:
        return None
    size = int(match[1])
    named = symbol[match.end() : match.end() + size]
    return _without_overload(named) if len(named) == size else None


def _without_overload(named: str) -> str:
    """Return `index` of `index_Tensor`; overloads begin with a capital or are what torch calls the operator's variant.

    ATen joins operator and overload by an underscore. Which part is which, torch's own table of operators knows.
    """
    import torch

    parts = named.split("_")
    for end in range(len(parts), 0, -1):
        name = "_".join(parts[:end])
        overload = "_".join(parts[end:]) or "default"
        packet = getattr(torch.ops.aten, name, None) if name else None
        if packet is not None and overload in packet.overloads():
            return name
    return named
