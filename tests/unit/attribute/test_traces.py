"""What a wait in a trace of another program is said to be, with and without a Python stack."""

from __future__ import annotations

import pytest

from syncwatch.attribute.stacks import range_of
from syncwatch.model.analysis import Finding
from syncwatch.model.events import CopyEvent, Direction, KernelEvent, SyncEvent, SyncKind
from syncwatch.model.session import Coverage
from tests.helpers.attributed import findings_of
from tests.helpers.fakes import US, Stacks, copy, frame, kernel, recording, sync, torch_frame


def found_of(
    *syncs: SyncEvent,
    copies: tuple[CopyEvent, ...] = (),
    kernels: tuple[KernelEvent, ...] = (),
    stacks: Stacks | None = None,
    recorder: str = "nsys",
) -> Finding:
    """Return what the last of `syncs` is said to be."""
    coverage = Coverage((recorder,), (), len(syncs), 0)
    known = recording(syncs=syncs, copies=copies, kernels=kernels, stacks=stacks or Stacks(), coverage=coverage)
    return findings_of(known)[-1]


def wait(at: int = 10 * US, **known: object) -> SyncEvent:
    return sync(stack=None, seen_by=("nsys",), at=(at, at + 5 * US), **known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("direction", "size", "code"),
    [
        (Direction.D2H, 8, "SW101"),
        (Direction.D2H, 16, "SW101"),
        (Direction.D2H, 17, "SW104"),
        (Direction.H2D, 8, "SW302"),
        (Direction.D2D, 8, "SW900"),
    ],
)
def test_the_copy_right_before_a_wait_tells_why(direction: Direction, size: int, code: str) -> None:
    before = copy(direction=direction, size=size, stack=None, asked=8 * US)
    assert found_of(wait(), copies=(before,)).code == code


def test_a_wait_that_was_joined_with_its_copy_begins_with_it() -> None:
    assert found_of(wait(), copies=(copy(stack=None, asked=10 * US),)).code == "SW101"


@pytest.mark.parametrize(
    ("before", "later"),
    [
        pytest.param(copy(stack=None, asked=8 * US), kernel((9 * US, 12 * US), asked=9 * US), id="a-launch-between"),
        pytest.param(copy(stack=None, asked=8 * US, thread=1), None, id="another-thread"),
        pytest.param(copy(stack=None, asked=8 * US, device=1), None, id="another-gpu"),
        pytest.param(copy(stack=None, asked=11 * US), None, id="after-the-wait-began"),
        pytest.param(copy(stack=None), None, id="no-call-recorded"),
    ],
)
def test_a_copy_that_was_not_waited_for_tells_nothing(before: CopyEvent, later: KernelEvent | None) -> None:
    kernels = () if later is None else (later,)
    assert found_of(wait(), copies=(before,), kernels=kernels).code == "SW900"


def test_of_two_waits_behind_a_copy_the_first_was_for_it() -> None:
    before = copy(stack=None, asked=8 * US)
    assert found_of(wait(), wait(20 * US), copies=(before,)).code == "SW900"


@pytest.mark.parametrize("kind", [SyncKind.DEVICE, SyncKind.EVENT, SyncKind.STREAM])
def test_silence_of_hooks_that_were_not_there_blames_no_library(kind: SyncKind) -> None:
    found = found_of(wait(kind=kind), copies=(copy(stack=None, asked=8 * US),) if kind is not SyncKind.STREAM else ())
    assert (found.code, found.explicit) == ("SW900", False)


def test_a_copy_that_held_the_host_waits_by_its_contract_or_in_spite_of_it() -> None:
    before = (copy(stack=None, size=4096, asked=10 * US),)
    assert found_of(wait(kind=SyncKind.COPY, api="cudaMemcpyAsync"), copies=before).code == "SW304"
    assert found_of(wait(kind=SyncKind.COPY, api="cudaMemcpy"), copies=before).code == "SW104"


def test_synchronize_in_a_stack_says_that_it_was_asked_for() -> None:
    stacks = Stacks()
    asked = stacks.add(torch_frame("cuda/__init__.py", "synchronize"), frame("", line=4))
    found = found_of(sync(kind=SyncKind.DEVICE, stack=asked), stacks=stacks, recorder="torch.profiler")
    assert (found.code, found.explicit, found.exact_line) == ("SW401", True, False)


def test_an_operator_tells_where_the_trace_has_no_source() -> None:
    stacks = Stacks()
    line = stacks.add(frame("", line=4))
    found = found_of(sync(stack=line, op="aten.nonzero"), stacks=stacks, recorder="torch.profiler")
    assert (found.code, found.source, found.line) == ("SW202", "", 4)


def test_the_copies_of_a_whole_function_do_not_hide_the_one_that_was_waited_for() -> None:
    stacks = Stacks()
    line = stacks.add(frame("", line=4))
    copies = (copy(stack=line, asked=8 * US), copy(stack=line, asked=2 * US, direction=Direction.H2D))
    at = sync(stack=line, at=(10 * US, 12 * US))
    assert found_of(at, copies=copies, stacks=stacks, recorder="torch.profiler").code == "SW101"


@pytest.mark.parametrize(
    ("recorder", "words"), [("nsys", "torch.profiler with `with_stack=True`"), ("torch.profiler", "with_stack=True")]
)
def test_without_any_stack_the_help_is_how_to_get_one(recorder: str, words: str) -> None:
    assert words in found_of(wait(), recorder=recorder).hint


def test_where_stacks_were_recorded_the_help_is_that_of_the_cause() -> None:
    stacks = Stacks()
    stacks.add(frame())
    assert "record with Python stacks" not in found_of(wait(), stacks=stacks).hint


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ((), None),
        (("syncwatch.step 3",), "syncwatch.step #"),
        (("syncwatch.step 3", "build metadata"), "build metadata"),
        (("ProfilerStep#12",), "ProfilerStep#"),
        (("layer.07.mlp",), "layer.#.mlp"),
        (("Module 0x7f3aBE", "aten::item, seq = 12"), "Module #"),
        (("aten::item, seq = 12", "aten::_local_scalar_dense"), "aten::_local_scalar_dense"),
    ],
)
def test_the_innermost_range_of_the_users_stands_for_the_line(names: tuple[str, ...], shown: str | None) -> None:
    assert range_of(names, live=False) == shown
