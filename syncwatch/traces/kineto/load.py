"""Reads a Chrome trace file into a session, whether it is an export of ours or a recording of torch.profiler."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

import msgspec

from syncwatch.errors import NotMeasuredError, UsageError
from syncwatch.model.session import DeviceKind, Recorder, Session
from syncwatch.traces.kineto.columns import Collected
from syncwatch.traces.kineto.notation import OWN_KEY
from syncwatch.traces.kineto.own import session_of
from syncwatch.traces.kineto.processes import processes_of
from syncwatch.traces.kineto.read_file import Trace
from syncwatch.traces.process import Process
from syncwatch.traces.recording import environment_of, recording_of

_FARTHEST_NS = 2**61
_BY_TENSORBOARD = re.compile(r"(?P<host>.+)_(?P<rest>\d+\.\d+\.pt\.trace\.json(?:\.gz)?)")
"""How `torch.profiler.tensorboard_trace_handler` names a file: with the host's name first."""

_Value = TypeVar("_Value")


class _Rank(msgspec.Struct):
    rank: int | None = None


class _Gpu(msgspec.Struct):
    name: str | None = None


def load(path: Path, step_range: str | None = None) -> Session:
    """Read the trace at `path`; nothing is written.

    Of torch.profiler's trace the names of calls, kernels, operators, functions, threads and ranges are taken over, and
    the GPU's; the host's name, which the file holds, is not.

    Args:
        path: JSON or packed JSON, whatever its name.
        step_range: the range that marks a step, a name or a pattern; None for those that torch.profiler and syncwatch
            give.

    Raises:
        SessionError: if the file is no trace, with what is wrong and what to do.
        NotMeasuredError: if it holds no call of the CUDA runtime and no work on a GPU.
        UsageError: if no range has the name `step_range`, or it was asked of an export of ours, which has its steps.
    """
    trace = Trace(path)
    if OWN_KEY not in trace.keys:
        found = collected(trace)
        if OWN_KEY not in trace.keys:
            return _imported(path, trace, found, step_range)
    if step_range is not None:
        raise UsageError(f"{path} is an export of syncwatch and has its steps. Leave --step-range out.")
    return session_of(trace, path)


def collected(trace: Trace) -> Collected:
    """Return what counts of every row of `trace`."""
    found = Collected()
    found.take(trace.rows())
    found.left_out += trace.left_out
    return found


def processes_in(trace: Trace, found: Collected, step_range: str | None) -> tuple[Process, ...]:
    """Return the processes of a trace of torch.profiler, whose rows are `found`."""
    base = _value(trace, "baseTimeNanoseconds", int) or 0
    about = _value(trace, "distributedInfo", _Rank)
    rank = None if about is None else about.rank
    return processes_of(found, base if abs(base) < _FARTHEST_NS else 0, rank, step_range)


def _imported(path: Path, trace: Trace, found: Collected, step_range: str | None) -> Session:
    has_calls = any(host.threads for host in found.hosts.values())
    if not has_calls and not any(works.starts for works in found.works.values()):
        raise NotMeasuredError(
            f"{path} holds nothing of CUDA. Record the program again with ProfilerActivity.CUDA among the activities."
        )
    gpus = _value(trace, "deviceProperties", list[_Gpu]) or []
    gpu = next((each.name for each in gpus if each.name is not None), None)
    processes = processes_in(trace, found, step_range)
    match = _BY_TENSORBOARD.fullmatch(path.name)
    return Session(
        target=path.name if match is None else match["rest"],
        device=DeviceKind.CUDA,
        environment=environment_of(gpu),
        recordings=tuple(map(recording_of, processes)),
        outputs_equal=None,
        complete=True,
        recorder=Recorder.TORCH_PROFILER,
        unwatched=tuple(sentence for process in processes for sentence in process.hides()),
    )


def _value(trace: Trace, key: str, kind: type[_Value]) -> _Value | None:
    """Return what stands beside the rows; None where nothing of this kind does."""
    raw = trace.keys.get(key)
    try:
        return None if raw is None else msgspec.json.decode(raw, type=kind)
    except (msgspec.ValidationError, UnicodeDecodeError):
        return None
