"""The operator that made a driver call is read off the native stack, by the mangled names of libtorch."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from syncwatch.sense.cuda import native_stacks
from syncwatch.sense.cuda.native_stacks import Operators, native_stack, operator_in


@pytest.mark.parametrize(
    ("mangled", "operator"),
    [
        ("_ZN2at4_ops12index_Tensor4callERKNS_6TensorE", "index"),
        ("_ZN2at4_ops19_local_scalar_dense4callERKNS_6TensorE", "_local_scalar_dense"),
        ("_ZN2at4_ops5copy_4callERNS_6TensorERKS2_b", "copy_"),
        ("_ZN2at4_ops10linalg_svd10redispatchEN3c1014DispatchKeySetE", "linalg_svd"),
        ("_ZN2at4_ops7nonzero4callERKNS_6TensorE", "nonzero"),
        ("_ZN2at4_ops11no_op_known4callE", "no_op_known"),
        ("_ZN2at4_ops12_to_copy_out4callE", "_to_copy"),
        ("_ZN2at4_ops12fill__Tensor4callE", "fill_"),
        ("_ZN2at6native7nonzeroERKNS_6TensorE", None),
        ("_ZN2at4_ops99cut4callE", None),
        ("cuMemcpyDtoHAsync_v2", None),
        ("", None),
    ],
)
def test_an_operator_is_named_without_its_overload(mangled: str, operator: str | None) -> None:
    assert operator_in(f"libtorch_cpu.so {mangled}") == operator


def test_the_innermost_operator_counts_and_no_more_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    symbols = {
        1: "libcuda.so.1 cuStreamSynchronize",
        2: "libtorch_cpu.so _ZN2at4_ops19_local_scalar_dense4callERKNS_6TensorE",
        3: "libtorch_cpu.so _ZN2at4_ops4item4callERKNS_6TensorE",
    }
    asked: list[int] = []

    def look_up(_self: Operators, address: int) -> str:
        asked.append(address)
        return symbols[address]

    monkeypatch.setattr(Operators, "_symbol", look_up)
    operators = Operators()

    assert operators.of((1, 2, 3)) == "aten._local_scalar_dense"
    assert operators.of((1,)) is None and operators.of(()) is None
    assert asked == [1, 2, 1]


class _Looks(TorchDispatchMode):
    """Looks at the native stack inside each operator."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[tuple[str, str | None]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found.append((f"aten.{func.overloadpacket.__name__}", Operators().of(native_stack())))
        return func(*args, **(kwargs or {}))


def test_operators_of_torch_are_found_on_a_real_stack() -> None:
    values = torch.ones(4)
    with _Looks() as looks:
        values.index_select(0, torch.tensor([1]))
        values.fill_(2.0)
        values[values > 1].nonzero()
        values.sum(0).item()

    assert {"aten.index_select", "aten.fill_", "aten.index", "aten.nonzero", "aten.sum"} <= {
        asked for asked, _ in looks.found
    }
    assert [found for _, found in looks.found] == [asked for asked, _ in looks.found]


def test_addresses_of_this_thread_have_the_symbols_of_their_objects() -> None:
    addresses = native_stack()
    operators = Operators()
    symbols = [operators._symbol(address) for address in addresses]

    assert len(addresses) > 3
    assert any("cupti-" in symbol and "syncwatch_native_stack" in symbol for symbol in symbols)
    assert all("/" not in symbol.partition(" ")[0] for symbol in symbols)
    assert operators.of(addresses) is None


def test_a_symbol_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    address = native_stack()[0]
    operators = Operators()
    first = operators._symbol(address)
    monkeypatch.setattr(native_stacks, "load", os.abort)

    assert first and operators._symbol(address) == first


def test_an_address_outside_every_object_has_no_symbol() -> None:
    assert Operators()._symbol(1) == ""
