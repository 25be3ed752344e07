"""What `benchmarks/inventory.py` found in torch's sources is covered, and the scan finds what it should."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from benchmarks.inventory import RESULT, Inventory
from benchmarks.sources.cover import Reasons, cover
from benchmarks.sources.cpp import Place, read_source
from benchmarks.sources.operators import Graph, Operators
from benchmarks.sources.python import read_python
from syncwatch.sense.virtual.operators.table import blocking_ops

SOURCE = """
#include <cuda.h>
namespace at::native {
// x.item() in a comment, and "x.cpu()" below in a string
template <typename T>
struct ModeImpl {
  void operator()(T* first) { thrust::sort(policy, first, first + 1); }
};
#define READS(NAME)          \\
  double NAME(Tensor x) {    \\
    return x.item<double>(); \\
  }
static Tensor helper(const Tensor& x, bool flag) {
  TORCH_CHECK(x.dim(), "not x.cpu()");
  if (flag) {
    return x.cpu();
  }
  return x;
}
Tensor sorted_cuda(const Tensor& x) {
  return helper(x, true);
}
TORCH_IMPL_FUNC(sum_out_cuda)(const Tensor& x) {
  some_stub(kCUDA, x);
}
void some_kernel(const Tensor& x) { at::cuda::stream_synchronize(stream); }
REGISTER_CUDA_DISPATCH(some_stub, &some_kernel)
#if ENABLED
int branch() {
#else
int branch_else() {
#endif
  return cudaMemcpyAsync(a, b, 4, kind, stream);
}
}
"""
YAML = """
- func: sort(Tensor self) -> Tensor
  dispatch:
    CUDA: sorted_cuda
- func: sum.out(Tensor self, *, Tensor(a!) out) -> Tensor(a!)
  structured: True
  dispatch:
    CPU, CUDA: sum_out_cuda
- func: sum(Tensor self) -> Tensor
  structured_delegate: sum.out
- func: nonzero(Tensor self) -> Tensor
  dispatch:
    CUDA: some_kernel
"""
PYTHON = """
class Scaler:
    def step(self, found):
        if found.any():
            return found.item()
        return found.to("cpu").tolist()
"""


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    return msgspec.json.decode(RESULT.read_bytes(), type=Inventory)


def places(tmp_path: Path) -> dict[str, Place]:
    (tmp_path / "x.cu").write_text(SOURCE)
    return {f"{each.function}:{each.pattern}": each for each in read_source(tmp_path / "x.cu", tmp_path).places}


def graph(tmp_path: Path) -> Graph:
    (tmp_path / "native.yaml").write_text(YAML)
    (tmp_path / "x.cu").write_text(SOURCE)
    return Graph([read_source(tmp_path / "x.cu", tmp_path)], Operators(tmp_path / "native.yaml"))


def test_every_place_has_a_row_or_a_reason(inventory: Inventory) -> None:
    for place in inventory.places:
        assert place.covered in ("row", "dispatched", "reason"), place.key
        assert place.reason or place.rows or place.operators, place.key


def test_every_row_of_the_inventory_is_in_the_table(inventory: Inventory) -> None:
    named = {row for place in inventory.places for row in place.rows}

    assert named
    assert named <= set(blocking_ops())


def test_the_counts_are_those_of_the_places(inventory: Inventory) -> None:
    assert inventory.counts == dict(Counter(place.covered for place in inventory.places))
    assert sum(inventory.folders.values()) == len(inventory.places)
    lines: Counter[str] = Counter()
    for file in inventory.python:
        for patterns in file.functions.values():
            for pattern, numbers in patterns.items():
                lines[pattern] += len(numbers)
    assert inventory.python_counts == dict(lines)


def test_the_page_says_the_same_counts(inventory: Inventory) -> None:
    page = (RESULT.parents[2] / "docs" / "virtual-device.md").read_text()

    for title, kind in (("a row", "row"), ("the dispatcher", "dispatched"), ("a reason", "reason")):
        assert f"| {title} | {inventory.counts[kind]} |" in page
    assert f"the {len(inventory.places)} places in C++ and CUDA" in page
    assert f"{sum(inventory.python_counts.values())} in Python" in page


def test_every_reason_is_that_of_the_file_and_its_rows_are_in_the_table(inventory: Inventory) -> None:
    reasons = {each.name: each for each in Reasons.load().reasons}

    assert {place.reason for place in inventory.places if place.reason} == set(reasons)
    for name, reason in reasons.items():
        assert reason.why.endswith("."), name
        assert set(reason.rows) <= set(blocking_ops()), name


def test_a_place_that_a_reason_names_is_covered_as_it_says(inventory: Inventory) -> None:
    reasons = Reasons.load()
    for place in inventory.places:
        found = reasons.of(place.key)
        assert (found.name if found else None) == place.reason, place.key


def test_places_are_found_in_code_alone(tmp_path: Path) -> None:
    assert set(places(tmp_path)) == {
        "ModeImpl:thrust",
        "READS:item",
        "helper:to the host",
        "some_kernel:waits for the stream",
        "branch:cudaMemcpy",
    }


def test_a_place_has_its_line_and_its_condition(tmp_path: Path) -> None:
    place = places(tmp_path)["helper:to the host"]

    assert SOURCE.split("\n")[place.line - 1].strip() == "return x.cpu();"
    assert place.condition == "flag"
    assert place.key == "x.cu:helper:to the host"


def test_operators_reach_a_place_through_helpers_and_stubs(tmp_path: Path) -> None:
    found = graph(tmp_path)

    assert found.reaching("helper").kernels == ("aten.sort",)
    assert found.reaching("some_kernel").kernels == ("aten.nonzero",)
    assert found.reaching("some_stub").kernels == ("aten.sum",)
    assert found.reaching("nobody").kernels == ()


def test_a_kernel_without_a_row_is_not_covered(tmp_path: Path) -> None:
    found, here = graph(tmp_path), places(tmp_path)
    nothing = Reasons(())

    assert cover("torch", here["helper:to the host"], found, nothing).covered == "nothing"
    covered = cover("torch", here["some_kernel:waits for the stream"], found, nothing)
    assert (covered.covered, covered.rows) == ("row", ("aten.nonzero",))


def test_places_of_python_are_kept_by_function(tmp_path: Path) -> None:
    (tmp_path / "y.py").write_text(PYTHON)

    assert {(each.function, each.pattern, each.lines) for each in read_python(tmp_path / "y.py", tmp_path)} == {
        ("Scaler.step", "item", (5,)),
        ("Scaler.step", "to the host", (6,)),
        ("Scaler.step", "truth of a tensor", (4,)),
    }
