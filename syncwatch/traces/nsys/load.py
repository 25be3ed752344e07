"""Reads an export of nsys into a session, with one recording for each process that used CUDA."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from syncwatch.errors import NotMeasuredError, UsageError
from syncwatch.model.events import Frame, RangeEvent, Step, collector_off
from syncwatch.model.process_name import process_name
from syncwatch.model.runtime import is_copy, is_launch
from syncwatch.model.session import DeviceKind, RecordedBy, Recording, Session
from syncwatch.traces.nesting import StepClock, steps_of
from syncwatch.traces.nsys.load_own import OWN_TABLE, session_of
from syncwatch.traces.nsys.read_calls import (
    CallCounts,
    TraceThreads,
    call_counts,
    call_names,
    index_calls,
    process_number,
    ranges_of,
    thread_names,
    waiting_calls,
)
from syncwatch.traces.nsys.read_file import GRAPH, KERNEL, MEMCPY, NsysFile, open_nsys
from syncwatch.traces.nsys.read_work import CallContext, copies_of, devices_of, kernels_of
from syncwatch.traces.process import Operator, TraceProcess
from syncwatch.traces.recording import environment_of, recording_of

_BLIND_TO = ("Python lines", "operators of torch", "whether a wait was asked for")


def load(path: Path, step_range: str | None = None, *, of: Path | None = None) -> Session:
    """Read an export of nsys 2022 to 2026, or one of our own, which is the session again. Nothing is written.

    Of its texts only the names of calls, kernels, ranges and threads are taken over: such a file also holds the
    environment, hosts and users of whoever recorded it.

    Args:
        path: the SQLite file.
        step_range: the NVTX range that marks a step, a name or a pattern; None for those that syncwatch gives.
        of: the report that `path` was exported from, where the user did not name `path`.

    Raises:
        SessionError: if the file is damaged or no export of nsys.
        NotMeasuredError: if it holds no work on a GPU.
        UsageError: if no range has the name `step_range`.
    """
    named = of or path
    with open_nsys(path, named) as file, collector_off():
        if file.has(OWN_TABLE):
            if step_range is not None:
                raise UsageError(f"{named} is an export of syncwatch, and knows its steps. Leave --step-range out.")
            return session_of(file, named)
        processes = tuple(_processes(file, step_range))
        recordings = tuple(map(recording_of, processes))
        if not recordings:
            raise NotMeasuredError(
                f"{named} holds nothing of CUDA. Record the program again with `nsys profile --trace=cuda,nvtx`."
            )
        environment = environment_of(_gpu(file, recordings))
    return Session(
        target=named.name,
        device=DeviceKind.CUDA,
        environment=environment,
        recordings=recordings,
        outputs_equal=None,
        complete=True,
        recorder=RecordedBy.NSYS,
        unwatched=tuple(sentence for process in processes for sentence in process.hides()),
    )


def _processes(file: NsysFile, step_range: str | None) -> Iterator[TraceProcess]:
    names = thread_names(file)
    threads: dict[int, TraceThreads] = defaultdict(lambda: TraceThreads(names))
    index_calls(file)
    known_calls = call_names(file)
    devices = devices_of(file)
    waits = waiting_calls(file, known_calls, threads, devices)
    calls = call_counts(file)
    keys = sorted(devices.keys() | waits.keys() | calls.unnamed.keys())
    ranges = ranges_of(file, threads)
    steps = _steps({key: ranges[key] for key in keys}, step_range)
    around = CallContext(known_calls, threads, {key: StepClock(steps[key]) for key in keys})
    kernels, copies = kernels_of(file, around), copies_of(file, around)
    labels = _labels(keys)
    # nsys leaves out a table that has no rows; whether there was nothing to record, the calls tell.
    records_kernels = _holds(file, KERNEL, GRAPH) or not any(map(is_launch, known_calls.values()))
    records_copies = _holds(file, MEMCPY) or (records_kernels and not any(map(is_copy, known_calls.values())))
    for key in keys:
        records_calls = key in calls.every or key in calls.waited
        notes = (
            *_missing(records_calls=records_calls, records_kernels=records_kernels, records_copies=records_copies),
            *_graph_notes(file),
        )
        yield TraceProcess(
            name=labels[key],
            recorder=RecordedBy.NSYS,
            records_calls=records_calls,
            threads=threads[key].called(),
            steps=steps[key],
            waits=tuple(waits.pop(key, ())),
            copies=tuple(copies.pop(key, ())) if records_copies else None,
            kernels=tuple(kernels.pop(key, ())) if records_kernels else None,
            ranges=tuple(ranges.pop(key, ())),
            surroundings=_Nothing(),
            notes=notes,
            blind_to=_BLIND_TO,
            unwatched=tuple(_hidden(labels[key], key, calls, records_copies=records_copies)),
        )


def _hidden(name: str, key: int, calls: CallCounts, *, records_copies: bool) -> Iterator[str]:
    """Yield what hides waits of one process."""
    every, unnamed = calls.every.get(key, 0), calls.unnamed.get(key, 0)
    again = "Export the report again with `nsys export --type sqlite`."
    if unnamed:
        yield f"Of {every} calls of {name} {unnamed} have no name in the file, so waits among them are missing. {again}"
    if not every and key in calls.waited:
        yield f"The file holds no calls of {name}, so its waits inside copies and in the allocator are missing. {again}"
    if every and not records_copies:
        yield f"The file holds no copies of {name}, so its waits inside copies are missing. {again}"


def _holds(file: NsysFile, *tables: str) -> bool:
    """Return whether one of `tables` has a row."""
    return any(file.has(table) and file.count(f"SELECT EXISTS (SELECT 1 FROM {table})") for table in tables)


def _missing(*, records_calls: bool, records_kernels: bool, records_copies: bool) -> Iterator[str]:
    if not records_calls:
        yield "The trace has no calls of the CUDA runtime, so no wait can be counted. Record with --trace=cuda."
    if not records_kernels:
        lost = "kernels" if records_copies else "work on a GPU"
        yield f"The trace has launches and no {lost}, so no wait has a price. Take an nsys for this driver."
    elif not records_copies:
        yield (
            "The trace has calls of copies and no copies, so no wait has a price, and waits inside copies are not "
            "counted. Take an nsys for this driver."
        )


def _graph_notes(file: NsysFile) -> Iterator[str]:
    if _holds(file, GRAPH):
        yield "Each CUDA graph is one piece of work: copies in it are not counted. Record with --cuda-graph-trace=node."


class _Nothing:
    """nsys' export tells neither the Python stack nor the operator."""

    def frames_at(self, thread: int, moment_ns: int) -> tuple[Frame, ...]:
        return ()

    def operator_at(self, thread: int, moment_ns: int) -> Operator | None:
        return None


def _steps(ranges: Mapping[int, list[RangeEvent]], asked: str | None) -> dict[int, tuple[Step, ...]]:
    """Return the steps of each process; one without the range that was asked for has none, if another has it."""
    found = {key: _steps_or_refusal(known, asked) for key, known in ranges.items()}
    refusals = [each for each in found.values() if isinstance(each, UsageError)]
    if refusals and len(refusals) == len(found):
        # The longest names the most ranges.
        raise max(refusals, key=lambda refusal: len(str(refusal)))
    return {key: () if isinstance(each, UsageError) else each for key, each in found.items()}


def _steps_or_refusal(ranges: list[RangeEvent], asked: str | None) -> tuple[Step, ...] | UsageError:
    try:
        return steps_of(ranges, asked)
    except UsageError as refusal:
        return refusal


def _labels(keys: list[int]) -> dict[int, str]:
    """Return a name for each process; pids of two machines can be the same."""
    counts = Counter(process_number(key) for key in keys)
    found: dict[int, str] = {}
    for key in keys:
        number = process_number(key)
        machine = sorted(each for each in keys if process_number(each) == number).index(key) + 1
        found[key] = process_name(number, machine=None if counts[number] == 1 else machine)
    return found


def _gpu(file: NsysFile, recordings: tuple[Recording, ...]) -> str | None:
    """Return the name of the GPUs that worked; of all the machine has, where the file does not tell which is which."""
    if not file.has("TARGET_INFO_GPU", "id", "name"):
        return None
    column = "cuDevice" if file.has("TARGET_INFO_GPU", "cuDevice") else "id"
    names = file.rows(
        f"SELECT {column}, CAST(name AS TEXT) FROM TARGET_INFO_GPU WHERE name IS NOT NULL ORDER BY id"
    ).fetchall()
    used = {kernel.device for recording in recordings for kernel in recording.kernels or ()}
    found = [name for number, name in names if number in used] or [name for _, name in names]
    return ", ".join(dict.fromkeys(found)) or None
