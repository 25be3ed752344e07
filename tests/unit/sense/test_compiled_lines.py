"""Waits at graph breaks: the frame runs code that torch.compile wrote, and the line has to be the user's."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from syncwatch.model.events import Frame
from syncwatch.sense.stacks import StackTable

PROGRAM = textwrap.dedent(
    """
    def model(x):
        y = x * 2

        # some lines that wait for nothing
        z = y + 1
        if z.sum() > 3:  # if
            z = z + 1

        while z.sum() < 60:  # while

            z = z * 2
        n = z.sum().item()  # item
        return helper(z - n)


    def helper(q):

        r = q * 2

        return 1 if r.sum() > 0 and r.max() else 0  # and
    """
)


@pytest.fixture
def reads() -> Iterator[Callable[[Callable[..., Any], torch.Tensor], list[Frame]]]:
    """Give a function that runs a compiled one, and returns the innermost frame of each scalar that it read."""
    table, stacks = StackTable(), list[int]()
    listening = False

    def local_scalar(tensor: torch.Tensor) -> Any:
        if listening:
            frame = sys._getframe(1)
            while "torch/" in frame.f_code.co_filename and frame.f_back is not None:
                frame = frame.f_back
            stacks.append(table.intern(frame))
        return tensor.detach().numpy().reshape(-1)[0].item()

    def run(function: Callable[..., Any], argument: torch.Tensor) -> list[Frame]:
        nonlocal listening
        function(argument)
        listening = True
        function(argument)
        frames, found = table.freeze()
        return [frames[found[stack][0]] for stack in stacks]

    with torch.library._scoped_library("aten", "IMPL") as library:
        library.impl("_local_scalar_dense", local_scalar, "CPU")
        yield run
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore")
def test_a_read_at_a_graph_break_has_the_line_of_the_source(
    reads: Callable[[Callable[..., Any], torch.Tensor], list[Frame]], tmp_path: Path
) -> None:
    path = tmp_path / "broken.py"
    path.write_text(PROGRAM)
    names: dict[str, Any] = {}
    exec(compile(PROGRAM, str(path), "exec"), names)
    lines = PROGRAM.split("\n")

    frames = reads(torch.compile(names["model"], backend="eager"), torch.ones(3))

    branches = {lines[frame.line - 1].partition("# ")[2]: frame.branches for frame in frames}
    assert branches == {"if": True, "while": True, "item": False, "and": True}
    assert {frame.function for frame in frames} == {"model", "helper"}
