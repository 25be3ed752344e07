"""A GPU is watched by CUPTI or by torch's hooks alone, and left as it was. Fakes stand for the GPU and CUPTI."""

from __future__ import annotations

import os
import sys
import warnings

import pytest

from syncwatch.errors import NotMeasuredError
from syncwatch.model.session import Recording
from syncwatch.sense import active
from syncwatch.sense.cuda import gpu
from syncwatch.sense.cuda.gpu import CudaDevice
from syncwatch.sense.cuda.hooks import BLIND_TO, Hooks
from syncwatch.sense.cuda.sync_warnings import MESSAGE
from syncwatch.sense.recorder import Recorder
from tests.helpers.cuda_watch import failing_look
from tests.helpers.fake_cupti import STREAM, FakeCupti, fake_debug_mode, program


@pytest.fixture
def modes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sync debug modes that were set, 0 first."""
    return fake_debug_mode(monkeypatch)


@pytest.fixture
def device(cupti: FakeCupti, modes: list[int], monkeypatch: pytest.MonkeyPatch) -> CudaDevice:
    monkeypatch.setattr(gpu, "has_gpu", lambda: True)
    return CudaDevice()


def code(recording: Recording | None) -> str:
    """Return the line of the only wait."""
    assert recording is not None
    (wait,) = recording.syncs
    assert wait.stack is not None
    return recording.frames[recording.stacks[wait.stack][0]].code


def test_without_a_gpu_a_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "has_gpu", lambda: False)

    with pytest.raises(NotMeasuredError, match=r"no CUDA GPU here\. Use --device virtual"):
        CudaDevice()


def test_a_watch_can_be_repeated_and_its_recording_is_there_at_its_end(device: CudaDevice, cupti: FakeCupti) -> None:
    for name in ("one", "two"):
        with device.watch(name) as sensed:
            cupti.play(program((STREAM, 1)))
            assert sensed.snapshot is not None
            early, late = sensed.snapshot(), sensed.recording
        assert late is None
        assert code(early) == code(sensed.recording) == "cupti.play(program((STREAM, 1)))"
        assert sensed.recording is not None and sensed.recording.variant == name
        assert (early.kernels, sensed.recording.kernels) == (None, ())
    assert active.recorders() == ()


def test_a_program_that_fails_is_recorded_to_there(device: CudaDevice, cupti: FakeCupti) -> None:
    with pytest.raises(ZeroDivisionError), device.watch("one") as sensed:
        cupti.play(program((STREAM, 1)))
        _ = 1 / 0

    assert code(sensed.recording) == "cupti.play(program((STREAM, 1)))"
    assert not cupti.is_subscribed and active.recorders() == ()


def test_lines_alone_take_no_cupti(device: CudaDevice, cupti: FakeCupti, modes: list[int]) -> None:
    with device.lines("one") as sensed:
        during = (cupti.is_subscribed, modes[-1])
        warnings.warn(MESSAGE, UserWarning, stacklevel=1)

    assert during == (False, 1) and modes[-1] == 0
    assert code(sensed.recording) == "warnings.warn(MESSAGE, UserWarning, stacklevel=1)"
    assert sensed.recording is not None
    assert (sensed.recording.copies, sensed.recording.kernels) == (None, None)
    assert sensed.recording.coverage.blind_to == BLIND_TO


def test_a_call_that_could_not_be_looked_at_is_said(
    device: CudaDevice, cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = device.unwatched()
    with device.watch("one") as sensed:
        failing_look(monkeypatch, AttributeError("no such attribute"))
        cupti.play(program((STREAM, 1), (STREAM, 2)))

    assert before == ()
    assert device.unwatched() == (
        "A driver call has no line: looking for it failed (AttributeError: no such attribute).",
    )
    assert sensed.recording is not None
    assert (sensed.recording.coverage.seen, sensed.recording.coverage.attributed) == (2, 0)


def test_how_often_it_was_used_is_known_only_while_nobody_did(
    device: CudaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = device.used()
    monkeypatch.setattr(gpu, "is_initialized", lambda: True)

    assert (before, device.used()) == (0, None)


def test_a_gpu_that_something_else_than_torch_uses_is_not_watched(
    device: CudaDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "is_used_without_torch", lambda: True)

    assert "Something other than torch used the GPU" in device.unwatched()[0]


@pytest.mark.parametrize("way", ["watch", "lines"])
def test_the_child_of_a_fork_takes_nothing_off_and_records_nothing(
    device: CudaDevice, modes: list[int], way: str
) -> None:
    watching = getattr(device, way)("one")
    sensed = watching.__enter__()
    before = list(modes)

    pid = os.fork()
    if pid == 0:
        # As where Python ends in the child, and lets go of what its parent had open.
        watching.__exit__(None, None, None)
        os._exit(0 if modes == before and sensed.recording is None else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    watching.__exit__(None, None, None)

    assert status == 0
    assert modes[-1] == 0
    assert sensed.recording is not None


def test_who_stays_until_the_process_ends_hears_of_waits_after_the_watch(
    device: CudaDevice, cupti: FakeCupti, modes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[object] = []
    with device.watch("one") as sensed:
        device.watch_until_exit(waits.append)
        cupti.play(program((STREAM, 1)))
    after = modes[-1]
    before = len(waits)
    warnings.warn(MESSAGE, UserWarning, stacklevel=1)
    gpu._STAYING.pop().__exit__(None, None, None)

    assert (after, len(waits) - before, modes[-1]) == (1, 1, 0)
    assert sensed.recording is not None and len(sensed.recording.syncs) == 1


def test_nothing_is_taken_off_while_python_ends(
    device: CudaDevice, modes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # In a child: what stays on would be on in the tests that follow.
    pid = os.fork()
    if pid == 0:
        with warnings.catch_warnings():
            hooks = Hooks(Recorder(now_ns=lambda: 0))
            listening = hooks.on()
            listening.__enter__()
            during = list(modes)
            monkeypatch.setattr(sys, "is_finalizing", lambda: True)
            listening.__exit__(None, None, None)
            os._exit(0 if (during[-1], modes) == (1, during) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
