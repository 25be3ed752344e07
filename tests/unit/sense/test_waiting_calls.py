"""Methods of types written in C are hooked, for objects that exist too, and put back."""

from __future__ import annotations

from types import FrameType

import pytest
import torch

from syncwatch.compat.cpython import set_method
from syncwatch.model.events import SyncKind
from syncwatch.sense.cuda.waiting_calls import WaitingCalls


def test_events_of_torch_itself_are_seen_though_their_type_is_written_in_c() -> None:
    seen: list[tuple[SyncKind, bool, str]] = []

    def is_own_call(kind: SyncKind, asked: bool, frame: FrameType) -> None:
        seen.append((kind, asked, frame.f_code.co_name))

    before = vars(torch.Event)["synchronize"]
    calls = WaitingCalls(is_own_call)
    calls.start()
    try:
        with pytest.raises(TypeError):  # no event can be made without a GPU, and the real method is asked
            torch.Event.synchronize("no event")  # type: ignore[arg-type]
    finally:
        calls.stop()

    assert seen == [(SyncKind.EVENT, True, "test_events_of_torch_itself_are_seen_though_their_type_is_written_in_c")]
    assert vars(torch.Event)["synchronize"] is before
    with pytest.raises(TypeError):
        torch.Event.synchronize("no event")  # type: ignore[arg-type]
    assert len(seen) == 1


def test_a_method_of_a_type_in_c_is_replaced_for_objects_that_exist_and_put_back() -> None:
    size = torch.Size((1, 2))
    before = vars(torch.Size)["numel"]

    assert set_method(torch.Size, "numel", lambda self: -1)
    replaced = size.numel()
    assert set_method(torch.Size, "numel", before)

    assert (replaced, size.numel()) == (-1, 2)
