"""What `kernel-warmup` makes of its processes: their order, their figures, and the session they become."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest
from syncwatch_scenarios.kernel_warmup import SCENARIO, WarmupOptions
from syncwatch_scenarios.kernel_warmup import workload as kernel_warmup_fresh
from syncwatch_scenarios.kernel_warmup import workload as kernel_warmup_workload
from syncwatch_scenarios.kernel_warmup.chain import Heads
from syncwatch_scenarios.kernel_warmup.figures import Counts, Served, Warmup, described, figures_of
from syncwatch_scenarios.kernel_warmup.warm_process import Job
from syncwatch_scenarios.kernel_warmup.workload import KernelWarmupRun, KernelWarmupWorkload, Measured, measure

from syncwatch.bench.scenario import Plan
from syncwatch.errors import NotMeasuredError, UsageError
from syncwatch.model.events import SyncEvent, SyncKind
from syncwatch.model.session import DeviceKind, Environment
from syncwatch.pipeline import report_of
from syncwatch.sense.base import Sensed
from tests.helpers.fakes import ENVIRONMENT, recording, session, steps, sync

HEADS = Heads(1, 2, 16)
SERVED = Served(tokens=17, compiled=0, benchmarked=0, first_ns=2_000_000, steady_ns=50_000, error=0.001)
WARMUP = Warmup(
    warmup_ns=5_000_000_000,
    compiled=88,
    compile_ns=4_000_000_000,
    cache_bytes=3_000_000,
    benchmarked=87,
    refused=1,
    choices={},
    served=(SERVED,),
)
WITHOUT_GPU = msgspec.structs.replace(WARMUP, benchmarked=None, refused=None, served=())


@dataclass
class Device:
    """A device that is never touched: processes of their own run, or would."""

    kind: DeviceKind = DeviceKind.CUDA

    def environment(self) -> Environment:
        return ENVIRONMENT

    @contextlib.contextmanager
    def watch(self, variant: str, *, times: bool = True) -> Iterator[Sensed]:
        raise AssertionError(variant)
        yield

    def lines(self, variant: str) -> contextlib.AbstractContextManager[Sensed]:
        return self.watch(variant)

    def used(self) -> int | None:
        return None

    def watch_until_exit(self, notify: Callable[[SyncEvent | None], None]) -> None:
        raise AssertionError(notify)

    def unwatched(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        pass


@dataclass
class Processes:
    """Stands for `measure`: the n-th process takes n seconds, and those watched wait three times, then twice."""

    begun: list[str] = field(default_factory=list)
    fail_at: int | None = None

    def __call__(self, variant: str, heads: Heads, seed: int, *, on_gpu: bool, watched: bool = False) -> Measured:
        self.begun.append(f"{variant}{' watched' if watched else ''}")
        if len(self.begun) == self.fail_at:
            raise NotMeasuredError("the process failed")
        warmup = msgspec.structs.replace(WARMUP if on_gpu else WITHOUT_GPU, warmup_ns=len(self.begun) * 1_000_000_000)
        waits = [sync(0, kind=SyncKind.DEVICE, explicit=True) for _ in range(3)]
        waits.append(sync(0, kind=SyncKind.DEVICE, explicit=True, pacing=True))
        seen = session(
            recording("warm-up", syncs=waits, steps=steps(1)),
            recording("serving", syncs=[sync(0), sync(1)], steps=steps(5)),
        )
        return Measured(warmup, seen if watched else None)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    fake = Processes()
    monkeypatch.setattr(kernel_warmup_workload, "measure", fake)
    return fake


def run_of(plan: Plan, device: DeviceKind = DeviceKind.CUDA) -> KernelWarmupRun:
    workload = KernelWarmupWorkload("tiny", HEADS, 0, on_gpu=device is DeviceKind.CUDA)
    return KernelWarmupRun("kernel-warmup", workload, Device(device), plan, lambda *_: None)


def test_variants_take_turns_and_are_watched_after_the_last_time_was_taken(processes: Processes) -> None:
    run = run_of(Plan(("naive", "precomputed"), steps=2, warmup=1))

    run.run()

    assert processes.begun == [
        "naive", "precomputed", "precomputed", "naive", "naive", "precomputed", "naive watched", "precomputed watched",
    ]  # fmt: skip
    naive, precomputed = run.session().recordings
    assert naive.rounds_ns == ((4_000_000_000,), (5_000_000_000,))
    assert precomputed.rounds_ns == ((3_000_000_000,), (6_000_000_000,))


def test_a_step_of_the_report_is_the_warm_up_with_its_waits(processes: Processes) -> None:
    run = run_of(Plan(("naive", "precomputed"), steps=1, warmup=0))

    run.run()
    report = report_of(run.session())

    naive = report.variants[0]
    assert (naive.name, naive.steps, naive.per_step.syncs) == ("naive", 1, 3)
    assert naive.step_ms is not None and naive.step_ms.median == 1000
    assert naive.pacing_waits == 1
    assert any("88 configurations compiled" in note for note in naive.notes)
    assert report.complete and report.comparison is not None and report.comparison.step_time_ratio == 0.5


def test_without_a_gpu_no_time_and_no_wait_is_claimed(processes: Processes) -> None:
    run = run_of(Plan(("naive", "shipped"), steps=1, warmup=0), DeviceKind.VIRTUAL)

    run.run()
    report = report_of(run.session())

    assert processes.begun == ["naive", "shipped"]
    for variant in report.variants:
        assert (variant.steps, variant.step_ms, variant.coverage.seen) == (0, None, None)
        assert any("need a GPU" in note for note in variant.notes)


def test_a_process_that_fails_leaves_a_partial_session(processes: Processes) -> None:
    processes.fail_at = 3
    run = run_of(Plan(("naive", "shipped"), steps=2, warmup=0))

    with pytest.raises(NotMeasuredError):
        run.run()

    found = run.session()
    assert not found.complete and found.missing
    assert [len(each.rounds_ns) for each in found.recordings] == [1, 1]


def test_figures_are_medians_and_count_serving_apart(processes: Processes) -> None:
    workload = KernelWarmupWorkload("tiny", HEADS, 0, on_gpu=True)
    for index in range(3):
        errors = workload.step("naive", index)
    workload.watch("naive")

    figures = workload.figures("naive")

    assert errors.tolist() == pytest.approx([0.001])
    assert figures["warmup_s"] == 2
    assert (figures["configurations_compiled"], figures["configurations_benchmarked"]) == (88, 87)
    assert (figures["warmup_syncs"], figures["serving_syncs"]) == (3, 2)
    assert (figures["first_request_ms_17"], figures["steady_request_ms_17"]) == (2, 0.05)


def test_the_worst_request_of_all_processes_is_the_one_told() -> None:
    late = msgspec.structs.replace(WARMUP, served=(msgspec.structs.replace(SERVED, compiled=2, benchmarked=1),))

    figures = figures_of([WARMUP, late, WARMUP], None)

    assert (figures["serving_compiled"], figures["serving_benchmarked"]) == (2, 1)
    assert "2 configurations compiled and 1 benchmarked" in " ".join(described(figures))


def test_what_was_not_measured_is_none() -> None:
    figures = figures_of([WITHOUT_GPU], None)

    missing = {name for name, value in figures.items() if value is None}
    assert missing == {
        "configurations_benchmarked",
        "configurations_refused",
        "warmup_syncs",
        "serving_syncs",
        "serving_compiled",
        "serving_benchmarked",
        "serving_error",
    }


@pytest.mark.parametrize("error", [0.006, None])
def test_a_wrong_result_is_no_measurement(monkeypatch: pytest.MonkeyPatch, error: float | None) -> None:
    wrong = msgspec.structs.replace(WARMUP, served=(SERVED, msgspec.structs.replace(SERVED, tokens=64, error=error)))

    def answer(job: Job, cache: Path) -> None:
        Path(job.answer).write_bytes(msgspec.json.encode(wrong))

    monkeypatch.setattr(kernel_warmup_fresh, "_run", answer)

    with pytest.raises(NotMeasuredError, match=r"output for 64 tokens is (off by 6.0e-03|not finite)"):
        measure("naive", HEADS, 0, on_gpu=True)


def test_only_what_was_really_compiled_is_counted() -> None:
    @dataclass
    class Times:
        total: int

    counts = Counts()
    counts._on_compiled(src=None, metadata={}, metadata_group={}, times=Times(250), cache_hit=False)
    counts._on_compiled(src=None, metadata={}, metadata_group={}, times=Times(3), cache_hit=True)

    assert (counts.compiled, counts.compile_ns) == (1, [250_000])


def test_it_runs_itself_and_refuses_what_means_nothing() -> None:
    plan = Plan(("naive",), steps=1, warmup=0)
    for given in ({"tokens": "8"}, {"lengths": "1x8"}):
        with pytest.raises(UsageError, match="means nothing in kernel-warmup"):
            SCENARIO.read(given, virtual=True)
    options = WarmupOptions("tiny")
    assert isinstance(SCENARIO.open_own_run(options, Device(), plan, lambda *_: None), KernelWarmupRun)
    with pytest.raises(UsageError, match="--what-if means nothing"):
        SCENARIO.open_own_run(options, Device(), replace(plan, lines_of=lambda _: ()), lambda *_: None)
