"""What the report says of a session that was read from another program's trace."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncwatch.model.report import RecordingSummary, Report, recorder_of
from syncwatch.model.session import Coverage, DeviceKind, RecordedBy
from syncwatch.pipeline import report_of
from tests.helpers.fakes import US, Stacks, frame, gdn_session, kernel, nsys_session, recording, session, steps, sync


def of_nsys(**figures: object) -> Report:
    known = nsys_session()
    return report_of(replace(known, recordings=(replace(known.recordings[0], **figures),)))  # type: ignore[arg-type]


def variant_of(report: Report) -> RecordingSummary:
    return report.variants[0]


def test_the_processes_of_a_trace_are_not_compared() -> None:
    known = gdn_session()
    assert report_of(known).comparison is not None
    imported = report_of(replace(known, recorder=RecordedBy.NSYS))
    assert imported.comparison is None
    assert (imported.recorder, report_of(known).recorder) == (RecordedBy.NSYS, RecordedBy.SYNCWATCH)


@pytest.mark.parametrize(
    ("sensors", "recorder"),
    [
        (("nsys",), RecordedBy.NSYS),
        (("torch.profiler",), RecordedBy.TORCH_PROFILER),
        (("debug_mode", "cupti"), RecordedBy.SYNCWATCH),
        ((), RecordedBy.SYNCWATCH),
    ],
)
def test_a_foreign_recorder_is_its_own_sensor(sensors: tuple[str, ...], recorder: RecordedBy) -> None:
    assert recorder_of(Coverage(sensors, (), None, 0)) is recorder


def test_a_trace_without_calls_has_no_count_of_waits() -> None:
    variant = variant_of(of_nsys(syncs=(), coverage=Coverage(("nsys",), (), None, 0)))
    step = variant.per_step
    assert (step.syncs, step.explicit_syncs, step.allowed_syncs, step.allocator_calls) == (None, None, None, None)
    assert (step.host_blocked_us, step.gpu_idle_us) == (None, None)


def test_a_trace_whose_calls_do_not_wait_has_a_count_of_zero() -> None:
    variant = variant_of(of_nsys(syncs=(), coverage=Coverage(("nsys",), (), 0, 0)))
    assert (variant.per_step.syncs, variant.per_step.allocator_calls, variant.per_step.gpu_idle_us) == (0, 0, 0)
    assert not any("recorded no" in note for note in variant.notes)


def test_a_trace_without_kernels_has_no_gpu_time() -> None:
    variant = variant_of(of_nsys(kernels=None))
    step = variant.per_step
    assert (step.gpu_busy_us, step.gpu_idle_us, step.gpu_span_us, step.kernel_us) == (None,) * 4
    assert step.host_blocked_us is not None
    assert all(site.gpu_idle_us is None and site.drain_wait_us is None for site in variant.sites)
    assert "nsys recorded no kernels: figures that need them are not measured." in variant.notes


def test_a_trace_without_copies_has_no_count_of_them() -> None:
    variant = variant_of(of_nsys(copies=None))
    step = variant.per_step
    assert (step.d2h_copies, step.d2h_bytes, step.h2d_copies, step.h2d_bytes) == (None,) * 4
    assert "nsys recorded no copies: figures that need them are not measured." in variant.notes


def test_work_that_our_own_sensors_did_not_watch_is_told_by_them() -> None:
    hooks = Coverage(("debug_mode",), ("times",), None, 1)
    variant = variant_of(report_of(session(recording(syncs=[sync()], copies=None, kernels=None, coverage=hooks))))
    assert not any("recorded no" in note for note in variant.notes)


def test_waits_without_a_line_are_sites_by_call_and_range() -> None:
    sites = variant_of(report_of(nsys_session())).sites
    assert {(site.waiter, site.calls) for site in sites} == {
        ('cudaStreamSynchronize in range "build metadata"', 3),
        ('cudaStreamSynchronize in range "layer #"', 3),
        ("cudaDeviceSynchronize", 1),
    }
    assert all(site.bytes is None for site in sites)


def test_calls_of_another_name_in_one_range_are_another_site() -> None:
    known = nsys_session()
    (process,) = known.recordings
    first, *others = process.syncs
    changed = replace(process, syncs=(replace(first, api="cuStreamSynchronize"), *others))
    sites = variant_of(report_of(replace(known, recordings=(changed,)))).sites
    assert len(sites) == 4


def test_layers_that_differ_in_number_are_one_site() -> None:
    ranges = tuple((f"step {index}", f"layer {index}") for index in range(5))
    stacks = Stacks()
    syncs = [sync(None, stack=None, seen_by=("nsys",), within=index) for index in range(5)]
    known = recording(syncs=syncs, stacks=stacks, range_stacks=ranges, coverage=Coverage(("nsys",), (), 5, 0))
    (site,) = report_of(session(known, recorder=RecordedBy.NSYS)).sites
    assert (site.calls, site.range) == (5, "layer #")
    assert "layer 3" in site.ranges


def test_a_site_with_a_line_is_not_parted_by_its_ranges() -> None:
    known = recording(syncs=[sync(within=0), sync(within=1)], range_stacks=(("prefill",), ("decode",)))
    (site,) = report_of(session(known)).sites
    assert (site.calls, site.range, site.ranges) == (2, None, ("prefill", "decode"))


def test_warm_up_alone_is_told_by_call_and_range_too() -> None:
    ranges = (("load",), ("layer 3",))
    known = recording(
        steps=steps(2, warmup=1),
        syncs=[sync(0, stack=None, within=0), sync(0, stack=None, within=1), sync(1, stack=None, within=1)],
        stacks=Stacks(),
        range_stacks=ranges,
        coverage=Coverage(("nsys",), (), 3, 0),
    )
    variant = variant_of(report_of(session(known, recorder=RecordedBy.NSYS)))
    assert [site.range for site in variant.warmup_sites] == ["load"]


def test_every_rank_is_a_variant_of_its_own() -> None:
    ranks = [
        recording(
            f"rank {rank}",
            syncs=[sync(at=(0, 10 * US), device=rank)],
            kernels=[kernel((0, 5 * US), device=rank), kernel((20 * US, 30 * US), device=rank)],
            coverage=Coverage(("torch.profiler",), (), 1, 1),
        )
        for rank in range(2)
    ]
    report = report_of(session(*ranks, recorder=RecordedBy.TORCH_PROFILER, device=DeviceKind.CUDA))
    assert [(variant.name, variant.per_step.gpu_idle_us) for variant in report.variants] == [
        ("rank 0", 15),
        ("rank 1", 15),
    ]


@pytest.mark.parametrize(("gpus", "said"), [((0, 0), True), ((0, 1), False)])
def test_processes_that_may_share_a_gpu_have_it_said(gpus: tuple[int, int], said: bool) -> None:
    processes = [
        recording(f"process {number}", kernels=[kernel((0, US), device=gpu)], coverage=Coverage(("nsys",), (), 0, 0))
        for number, gpu in enumerate(gpus)
    ]
    report = report_of(session(*processes, recorder=RecordedBy.NSYS))
    assert [any("one process" in note for note in variant.notes) for variant in report.variants] == [said, said]
    ours = report_of(session(*processes))
    assert not any("one process" in note for variant in ours.variants for note in variant.notes)


def test_lines_of_torch_profiler_are_those_of_the_functions() -> None:
    stacks = Stacks()
    stacks.add(frame("", line=4, function="decode"))
    traced = recording(syncs=[sync()], stacks=stacks, coverage=Coverage(("torch.profiler",), (), 1, 1))
    (site,) = report_of(session(traced, recorder=RecordedBy.TORCH_PROFILER)).sites
    assert (site.line, site.function, site.exact_line) == (4, "decode", False)
    (site,) = report_of(session(replace(traced, coverage=Coverage(("nsys",), (), 1, 1)))).sites
    assert site.exact_line
