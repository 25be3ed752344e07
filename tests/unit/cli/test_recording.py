"""How the words of a command decide which variants of a scenario run, and how often."""

from __future__ import annotations

import pytest

from syncwatch.app.run import Request, _plan
from syncwatch.bench import Defaults, Scenario
from syncwatch.model.session import DeviceKind
from syncwatch.sense.choose_device import DeviceChoice

SCENARIO = Scenario(
    name="plain",
    summary="a scenario",
    variants=("naive", "better"),
    workload="tests.nowhere:build",
    steps=Defaults(cuda=30, virtual=4),
    warmup=Defaults(cuda=6, virtual=2),
)


def asked(*variants: str, steps: int | None = None, warmup: int | None = None) -> Request:
    return Request(("plain",), None, DeviceChoice.VIRTUAL, variants, steps, warmup)


@pytest.mark.parametrize(
    ("variants", "run"), [((), ("naive", "better")), (("better", "naive", "better"), ("better", "naive"))]
)
def test_a_variant_that_is_named_twice_is_one(variants: tuple[str, ...], run: tuple[str, ...]) -> None:
    assert _plan(asked(*variants), SCENARIO, DeviceKind.VIRTUAL, candidate_only=False).variants == run


def test_counts_are_the_scenarios_where_none_is_given() -> None:
    plans = [_plan(asked(), SCENARIO, device, candidate_only=True) for device in (DeviceKind.CUDA, DeviceKind.VIRTUAL)]
    given = _plan(asked(steps=1, warmup=0), SCENARIO, DeviceKind.CUDA, candidate_only=True)

    assert [(plan.steps, plan.warmup, plan.variants) for plan in plans] == [(30, 6, ("better",)), (4, 2, ("better",))]
    assert (given.steps, given.warmup) == (1, 0)
