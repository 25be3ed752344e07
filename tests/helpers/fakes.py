"""Hand-built records with readable defaults, for tests that need a recording but no sensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from syncwatch.model.events import (
    Call,
    CopyEvent,
    Direction,
    Frame,
    HostMemory,
    KernelEvent,
    Step,
    SyncEvent,
    SyncKind,
)
from syncwatch.model.report import UNKNOWN
from syncwatch.model.session import Coverage, DeviceKind, Environment, Line, RecordedBy, Recording, Replay, Session

US = 1_000
MS = 1_000_000

ENVIRONMENT = Environment(
    torch="2.13.0", triton="3.5.0", gpu="NVIDIA H200", driver="580.65", python="3.11.7", syncwatch="0.1.0"
)
FULL_COVERAGE = Coverage(sensors=("debug_mode", "cupti"), blind_to=(), seen=0, attributed=0)


def frame(
    code: str = "x.item()",
    expression: str | None = None,
    *,
    file: str = "app/train.py",
    line: int = 7,
    function: str = "step",
) -> Frame:
    """Return one line of a stack."""
    return Frame(file=file, line=line, function=function, code=code, expression=expression)


def torch_frame(file: str, function: str = "f", code: str = "", expression: str | None = None) -> Frame:
    """Return a frame inside torch, such as `_tensor_str.py`."""
    return Frame(file=f"torch/{file}", line=1, function=function, code=code, expression=expression)


def sync(
    step: int | None = None,
    *,
    kind: SyncKind = SyncKind.STREAM,
    at: tuple[int, int] | None = None,
    stack: int | None = 0,
    op: str | None = None,
    explicit: bool = False,
    pacing: bool = False,
    thread: int = 0,
    seen_by: tuple[str, ...] = ("debug_mode", "cupti"),
    api: str | None = None,
    allowed: str | None = None,
    within: int | None = None,
    device: int = 0,
) -> SyncEvent:
    """Return a wait; `at` is when it began and ended, in nanoseconds."""
    start, end = at if at is not None else (None, None)
    return SyncEvent(
        step, thread, kind, explicit, op, stack, 7, start, end, pacing, seen_by, api, within, allowed, device
    )


def copy(
    step: int | None = None,
    *,
    direction: Direction = Direction.D2H,
    size: int = 8,
    at: tuple[int, int] | None = None,
    stack: int | None = 0,
    thread: int = 0,
    asked: int | None = None,
    device: int = 0,
) -> CopyEvent:
    """Return a blocking copy to or from pageable memory; `asked` is when the host called for it."""
    start, end = at if at is not None else (None, None)
    call = None if asked is None else Call(thread, "cudaMemcpyAsync", asked, asked + US)
    return CopyEvent(step, thread, direction, HostMemory.PAGEABLE, size, True, None, stack, 7, start, end, call, device)


def kernel(
    at: tuple[int, int],
    *,
    step: int | None = None,
    stream: int = 7,
    name: str = "gemm",
    asked: int | None = None,
    device: int = 0,
) -> KernelEvent:
    """Return a kernel that ran at `at`; `asked` is when the host launched it."""
    call = None if asked is None else Call(0, "cudaLaunchKernel", asked, asked + US)
    return KernelEvent(step, stream, name, *at, call, device)


@dataclass(slots=True)
class Stacks:
    """Collects frames and stacks and numbers them, as a recorder would."""

    frames: list[Frame] = field(default_factory=list)
    stacks: list[tuple[int, ...]] = field(default_factory=list)

    def add(self, *frames: Frame) -> int:
        """Return the id of the stack of `frames`, innermost first."""
        start = len(self.frames)
        self.frames += frames
        self.stacks.append(tuple(range(start, start + len(frames))))
        return len(self.stacks) - 1


def recording(
    variant: str = "naive",
    *,
    syncs: Sequence[SyncEvent] = (),
    copies: Sequence[CopyEvent] | None = (),
    kernels: Sequence[KernelEvent] | None = (),
    steps: Sequence[Step] = (),
    rounds_ns: Sequence[Sequence[int]] = (),
    stacks: Stacks | None = None,
    coverage: Coverage = FULL_COVERAGE,
    modelled: bool = False,
    notes: tuple[str, ...] = (),
    host_build_ns: tuple[int, ...] = (),
    priced_ns: tuple[int, ...] = (),
    replays: tuple[Replay, ...] = (),
    range_stacks: tuple[tuple[str, ...], ...] = (),
) -> Recording:
    """Return a recording; where no stacks are given, every wait is at the line `x.item()`."""
    if stacks is None:
        stacks = Stacks()
        stacks.add(frame())
    return Recording(
        variant=variant,
        steps=tuple(steps),
        rounds_ns=tuple(tuple(times) for times in rounds_ns),
        modelled=modelled,
        threads=("MainThread",),
        frames=tuple(stacks.frames),
        stacks=tuple(stacks.stacks),
        syncs=tuple(syncs),
        copies=None if copies is None else tuple(copies),
        kernels=None if kernels is None else tuple(kernels),
        ranges=(),
        coverage=coverage,
        notes=notes,
        host_build_ns=host_build_ns,
        priced_ns=priced_ns,
        replays=replays,
        range_stacks=range_stacks,
    )


def session(
    *recordings: Recording,
    target: str = "gdn-prefill",
    device: DeviceKind = DeviceKind.CUDA,
    outputs_equal: bool | None = True,
    complete: bool = True,
    missing: tuple[str, ...] = (),
    parameters: dict[str, str] | None = None,
    recorder: RecordedBy = RecordedBy.SYNCWATCH,
) -> Session:
    """Return a session of `recordings`, complete unless said otherwise."""
    return Session(target, device, ENVIRONMENT, recordings, outputs_equal, complete, missing, parameters, recorder)


def steps(count: int, *, warmup: int = 0, each_ns: int = MS) -> tuple[Step, ...]:
    """Return `count` steps end to end, the first `warmup` of them not measured."""
    return tuple(Step(index, index < warmup, index * each_ns, (index + 1) * each_ns) for index in range(count))


def gdn_session() -> Session:
    """Return the fixed session of every golden file: naive waits, precomputed does not."""
    return session(
        _naive(),
        _precomputed(),
        parameters={"preset": "qwen3.5-397b", "tokens": "8192", "layers": "4", "dtype": "bfloat16"},
    )


def later_gdn_session() -> Session:
    """Return `gdn_session` after a change: one line is gone, one new, one moved, and one waits twice."""
    before = gdn_session()
    naive, precomputed = before.recordings
    frames = tuple(_edited(each) for each in naive.frames)
    kept = [each for each in naive.syncs if not each.explicit]
    again = [
        replace(each, start_ns=each.end_ns + 2 * US, end_ns=each.end_ns + 6 * US)
        for each in kept
        if each.allowed is not None and each.end_ns is not None
    ]
    faster = tuple(tuple(time - 150 * US for time in times) for times in naive.rounds_ns)
    naive = replace(naive, frames=frames, syncs=(*kept, *again), rounds_ns=faster, replays=())
    return replace(before, recordings=(naive, precomputed), environment=replace(before.environment, triton="3.6.0"))


def nsys_session() -> Session:
    """Return what nsys may have recorded of one process: no Python stacks, two ranges, a copy before each read."""
    all_steps = steps(3, each_ns=MS)
    syncs, copies, kernels = [], [], []
    for step in all_steps:
        begin, index = step.start_ns, step.index
        kernels.append(kernel((begin + 20 * US, begin + 300 * US), step=index, asked=begin + 10 * US))
        kernels.append(kernel((begin + 350 * US, begin + 700 * US), step=index, asked=begin + 340 * US))
        copies.append(copy(index, at=(begin + 300 * US, begin + 302 * US), stack=None, asked=begin + 30 * US))
        size, at = 4096, (begin + 700 * US, begin + 704 * US)
        copies.append(copy(index, size=size, at=at, stack=None, asked=begin + 360 * US))
        waits = ((0, (begin + 32 * US, begin + 310 * US)), (1, (begin + 362 * US, begin + 710 * US)))
        for ranges, at in waits:
            syncs.append(
                sync(
                    index,
                    at=at,
                    stack=None,
                    seen_by=("nsys",),
                    api="cudaStreamSynchronize",
                    within=2 * index + ranges,
                )
            )
    syncs.append(
        sync(
            2,
            kind=SyncKind.DEVICE,
            at=(3 * MS - 100 * US, 3 * MS - 95 * US),
            stack=None,
            seen_by=("nsys",),
            api="cudaDeviceSynchronize",
        )
    )
    process = recording(
        "process 4242",
        syncs=syncs,
        copies=copies,
        kernels=kernels,
        steps=all_steps,
        rounds_ns=[[step.end_ns - step.start_ns + 10 * US * step.index for step in all_steps]],
        stacks=Stacks(),
        coverage=Coverage(("nsys",), ("Python lines",), len(syncs), 0),
        range_stacks=tuple(
            (f"syncwatch.step {step.index}", name) for step in all_steps for name in ("build metadata", "layer 3")
        ),
    )
    known = session(process, target="h200.sqlite", outputs_equal=None, recorder=RecordedBy.NSYS)
    return replace(known, environment=replace(ENVIRONMENT, torch=UNKNOWN, triton=None, python=UNKNOWN))


def _edited(known: Frame) -> Frame:
    if known.code == "lengths = cu_seqlens.diff().tolist()":
        return replace(known, code="lengths = seq_lens.tolist()", expression="seq_lens.tolist()")
    return replace(known, line=known.line + 7) if known.function == "Workload.load_state" else known


def _naive() -> Recording:
    stacks = Stacks()
    cu_seqlens = stacks.add(
        frame(
            "lengths = cu_seqlens.diff().tolist()",
            "cu_seqlens.diff().tolist()",
            file="kernels/syncwatch_kernels/gdn/index.py",
            line=41,
            function="prepare_chunk_indices",
        ),
        frame(
            "out = layer(hidden, metadata)",
            file="scenarios/syncwatch_scenarios/gdn_prefill.py",
            line=96,
            function="step",
        ),
    )
    mask = stacks.add(
        frame(
            "state[has_initial_state] = initial",
            "state[has_initial_state]",
            file="scenarios/syncwatch_scenarios/gdn_prefill.py",
            line=120,
            function="Workload.load_state",
        )
    )
    checked = stacks.add(
        torch_frame("cuda/__init__.py", "synchronize"),
        frame("torch.cuda.synchronize()", "torch.cuda.synchronize()", file="app/bench.py", line=12, function="main"),
    )
    tuned = stacks.add(
        frame("runtime = measured.item()", "measured.item()", file="kernels/tuning.py", line=31, function="pick_config")
    )
    grown = stacks.add(frame("out = torch.empty_like(hidden)", file="app/model.py", line=88, function="Block.forward"))
    handed_out = stacks.add(
        frame("tokens = sampled.tolist()", "sampled.tolist()", file="app/engine.py", line=204, function="Engine.emit")
    )
    all_steps = steps(4, warmup=1, each_ns=4 * MS)
    syncs = [
        sync(0, at=(20 * US, 60 * US), stack=tuned, op="aten._local_scalar_dense"),
        sync(0, kind=SyncKind.ALLOCATION, at=(60 * US, 70 * US), stack=grown, api="cudaMalloc"),
    ]
    copies, kernels = [], []
    for step in all_steps:
        begin, index = step.start_ns, step.index
        kernels += [
            kernel((begin + 100 * US, begin + 900 * US), step=index, asked=begin + 70 * US),
            kernel((begin + 1300 * US, begin + 2 * MS), step=index, asked=begin + 1290 * US),
        ]
        kernels.append(kernel((begin + 2500 * US, begin + 3800 * US), step=index, asked=begin + 2490 * US))
        kernels.append(
            kernel((begin + 3810 * US, begin + 3850 * US), step=index, name="sample", asked=begin + 3800 * US)
        )
        kernels.append(
            kernel(
                (begin + 3840 * US, begin + 3900 * US), step=index, stream=9, name="copy_kv", asked=begin + 3802 * US
            )
        )
        copies.append(
            copy(index, size=40, at=(begin + 900 * US, begin + 902 * US), stack=cu_seqlens, asked=begin + 78 * US)
        )
        copies.append(copy(index, size=4, at=(begin + 2 * MS, begin + 2001 * US), stack=mask, asked=begin + 1398 * US))
        syncs.append(
            sync(index, at=(begin + 80 * US, begin + 910 * US), stack=cu_seqlens, op="aten._local_scalar_dense")
        )
        syncs.append(sync(index, at=(begin + 1400 * US, begin + 2010 * US), stack=mask, op="aten.nonzero"))
        syncs.append(
            sync(
                index,
                at=(begin + 3815 * US, begin + 3858 * US),
                stack=handed_out,
                op="aten._local_scalar_dense",
                allowed="sampled tokens leave the GPU once a step",
            )
        )
        syncs.append(
            sync(index, at=(begin + 3900 * US, begin + 3950 * US), stack=None, pacing=True, kind=SyncKind.EVENT)
        )
    syncs.append(sync(3, kind=SyncKind.DEVICE, explicit=True, at=(14_500 * US, 15_810 * US), stack=checked))
    return recording(
        "naive",
        syncs=syncs,
        copies=copies,
        kernels=kernels,
        steps=all_steps,
        rounds_ns=[[3_990_000 + 4_000 * index, 4_010_000, 4_020_000] for index in range(6)],
        stacks=stacks,
        coverage=Coverage(
            ("debug_mode", "explicit_waits", "cupti"), ("lines of waits inside vendor libraries",), 14, 14
        ),
        priced_ns=(5_610_000, 5_640_000, 5_700_000),
        replays=_replays(),
    )


def _replays() -> tuple[Replay, ...]:
    read = Line("kernels/syncwatch_kernels/gdn/index.py", 41)
    mask = Line("scenarios/syncwatch_scenarios/gdn_prefill.py", 120)
    emitted = Line("app/engine.py", 204)
    return (
        Replay((read,), tuple((3_600_000 + 2_000 * index, 3_610_000) for index in range(6))),
        Replay((mask,), tuple((3_985_000 + 9_000 * index, 4_008_000) for index in range(6))),
        Replay((emitted,), (), "Its values feed back into the next step."),
        Replay((read, mask), tuple((3_080_000 + 2_000 * index, 3_090_000) for index in range(6))),
    )


def _precomputed() -> Recording:
    all_steps = steps(4, warmup=1, each_ns=3 * MS)
    return recording(
        "precomputed",
        kernels=[
            kernel((step.start_ns + 50 * US, step.end_ns - 50 * US), step=step.index, asked=step.start_ns + 40 * US)
            for step in all_steps
        ],
        copies=[copy(step.index, direction=Direction.H2D, size=640, stack=None) for step in all_steps],
        steps=all_steps,
        rounds_ns=[[3_000_000, 3_010_000, 2_990_000 + 3_000 * index] for index in range(6)],
        host_build_ns=(41_000, 43_000, 42_000),
        priced_ns=(3_220_000, 3_240_000, 3_210_000),
        coverage=Coverage(("debug_mode", "explicit_waits", "cupti"), ("lines of waits inside vendor libraries",), 0, 0),
    )
