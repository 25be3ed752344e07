"""Which line of a stack is the user's, and which frames are those of libraries and of torch."""

from __future__ import annotations

import pytest

from syncwatch.attribute.stacks import is_user, locate
from tests.helpers.fakes import frame, torch_frame


@pytest.mark.parametrize(
    "file",
    [
        "app/train.py",
        "torch_utils/ops.py",
        "torchvision/ops/boxes.py",
        "transformers/generation/utils.py",
        "syncwatch_kernels/gdn/index.py",
        "kernels/syncwatch_kernels/gdn/index.py",
        "scenarios/syncwatch_scenarios/gdn_prefill.py",
        "numpy_tools/x.py",
        "torch.py",
    ],
)
def test_a_line_that_a_reader_can_edit_is_the_users(file: str) -> None:
    assert is_user(frame(file=file))


@pytest.mark.parametrize(
    "file",
    [
        "torch/_tensor.py",
        "triton/runtime/jit.py",
        "syncwatch/bench/runner.py",
        "numpy/_core/fromnumeric.py",
        "<stdlib>/contextlib.py",
        "<frozen importlib._bootstrap>",
        "<string>",
        "<eval_with_key>.1",
    ],
)
def test_a_line_of_a_library_is_not(file: str) -> None:
    assert not is_user(frame(file=file))


def test_the_innermost_user_line_is_found_with_the_frames_of_torch_below_it() -> None:
    # GIVEN a wait inside torch, called through the standard library
    inner = torch_frame("functional.py", "unique", "torch._unique2(x)", "torch._unique2(x)")
    plumbing = torch_frame("utils/_contextlib.py", "decorate_context")
    hook, stdlib = frame(file="syncwatch/sense/cuda/debug_mode.py"), frame(file="<stdlib>/functools.py")
    mine, outer = frame("y = dedupe(x)", file="app/moe.py", line=3), frame(file="app/main.py")

    # WHEN
    place = locate([hook, inner, plumbing, stdlib, mine, outer])

    # THEN
    assert place.user == mine
    assert place.below == (inner,)
    assert place.waiter == inner


def test_a_stack_without_a_user_line_has_none() -> None:
    place = locate([torch_frame("autograd/graph.py"), frame(file="<stdlib>/threading.py")])
    assert place.user is None
    assert place.waiter == place.below[0]


def test_an_empty_stack_has_no_place() -> None:
    assert locate([]).waiter is None
