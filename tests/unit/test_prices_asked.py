"""A run that was asked for prices and could not measure them fails."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncwatch.app.outcome import RunOutcome
from syncwatch.app.run import Request, judged_by_prices
from syncwatch.errors import EXIT_CLEAN, EXIT_NOT_MEASURED
from syncwatch.sense.choose_device import DeviceChoice
from tests.helpers.fakes import recording, session

REQUEST = Request(
    words=("train.py",),
    module=None,
    device=DeviceChoice.CUDA,
    variants=(),
    steps=None,
    warmup=None,
)


@pytest.mark.parametrize(
    ("asked", "priced", "code"),
    [
        (None, False, EXIT_CLEAN),
        (False, False, EXIT_CLEAN),
        (True, True, EXIT_CLEAN),
        (True, False, EXIT_NOT_MEASURED),
    ],
)
def test_a_run_that_had_to_have_prices_fails_without_them(asked: bool | None, priced: bool, code: int) -> None:
    known = recording() if priced else recording(kernels=None)

    outcome = judged_by_prices(replace(REQUEST, prices=asked), RunOutcome(session(known)))

    assert outcome.exit_code == code
    assert (outcome.message is None) == (code == EXIT_CLEAN)
