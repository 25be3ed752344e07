"""A variant on CUDA can be priced more than once; a fake stands for the sensors."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import pytest

from syncwatch.sense.cuda import gpu as cuda


def test_a_variant_can_be_priced_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> AbstractContextManager[None]:
        return nullcontext()

    monkeypatch.setattr(cuda, "has_gpu", lambda: True)
    monkeypatch.setattr(cuda, "_runtime", nothing)
    monkeypatch.setattr(cuda._Hooks, "on", nothing)
    device = cuda.CudaDevice()
    with device.sense("naive") as sensed:
        pass

    for _ in range(2):
        sensed.recording = None
        with device.price(sensed):
            pass
        assert sensed.recording is not None and sensed.recording.variant == "naive"
