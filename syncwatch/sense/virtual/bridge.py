"""Answers what the native library asks while an operator runs: rows of the table, copies, reads, references."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

import torch

from syncwatch.compat.torch_cuda import no_subclass_is_asked
from syncwatch.model.events import SyncKind
from syncwatch.sense.copy_plan import Side, plan_copy
from syncwatch.sense.virtual.clock.clock import Span, StreamId
from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.native.library import ASK, FAILED, calls
from syncwatch.sense.virtual.operators import table
from syncwatch.sense.virtual.operators.fallback import compute_otherwise
from syncwatch.sense.virtual.operators.table import OpCall, RuntimeCall, read, upload
from syncwatch.sense.virtual.operators.traits import OverloadTraits, traits_of


class Question(IntEnum):
    """What the library asks; the values are those of `Question` in native/bridge.h."""

    DESCRIBE = 0
    KIND = 1
    ROW = 2
    AFTER = 3
    COPY = 4
    READ = 5
    COMPUTE = 6
    FLOPS = 7
    SYNCHRONIZE = 8
    TELL = 9
    UPLOAD = 10
    DRIVER = 11


class AllocatorCall(IntEnum):
    """What an allocator asks of the driver; the values are those of `Driver` in native/driver.h."""

    MALLOC = 0
    FREE = 1
    HOST_ALLOC = 2
    HOST_FREE = 3
    EVENT_SYNCHRONIZE = 4


_APIS = {
    AllocatorCall.MALLOC: "cudaMalloc",
    AllocatorCall.FREE: "cudaFree",
    AllocatorCall.HOST_ALLOC: "cudaHostAlloc",
    AllocatorCall.HOST_FREE: "cudaFreeHost",
}


_KINDS = (SyncKind.DEVICE, SyncKind.STREAM, SyncKind.EVENT)
_OPERATORS: dict[int, OverloadTraits] = {}
"""By the number that the library gave; the numbers outlive a device."""


class Bridge:
    """Answers for one engine, on whatever thread the operator runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._calls: Any = calls()
        self._answers: Mapping[int, Callable[[Any], int]] = {
            Question.DESCRIBE: self._describe,
            Question.KIND: self._kind,
            Question.ROW: self._row,
            Question.AFTER: self._after,
            Question.COPY: self._copy,
            Question.READ: self._read,
            Question.COMPUTE: self._compute,
            Question.FLOPS: self._flops,
            Question.SYNCHRONIZE: self._synchronize,
            Question.TELL: self._notify,
            Question.UPLOAD: self._upload,
            Question.DRIVER: self._driver,
        }
        self.function = ASK(self._ask)
        """What C++ calls; it has to live as long as the device is on."""

    def _ask(self, question: int, numbers: Any) -> int:
        try:
            return self._answers[question](numbers)
        except BaseException as error:
            # C++ raises it again where the operator was called, or `Engine.kernel` does.
            self._engine.raised = error
            parts = (type(error), error, error.__traceback__)
            for part in parts:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(part))
            self._calls.sw_fail(*(id(part) for part in parts))
            return FAILED

    def _describe(self, numbers: Any) -> int:
        number = int(numbers[0])
        found = _OPERATORS.get(number)
        name = self._calls.sw_operator(number).decode()
        # An operator of the user's may have been defined anew under its name.
        if found is None or not name.startswith("aten::"):
            with no_subclass_is_asked():
                found = _OPERATORS[number] = traits_of(name)
        return int(found.traits)

    def _kind(self, numbers: Any) -> int:
        return self._engine.new_kind(self._calls.sw_name_of(numbers[0]).decode(), StreamId(numbers[1]))

    def _row(self, numbers: Any) -> int:
        found = _OPERATORS[numbers[0]]
        if found.row is None:
            return 0
        arguments = found.arguments()
        with self._engine.unseen():
            asked = found.row.calls(OpCall(found.name, arguments, {}, found.positions))
        if asked:
            self._engine.pending().append(asked)
        return len(asked)

    def _after(self, numbers: Any) -> int:
        name = _OPERATORS[numbers[0]].name
        for call in self._engine.pending().pop():
            self._engine.run(call, name)
        return 0

    def _copy(self, numbers: Any) -> int:
        from_device, from_pinned, from_dense, from_size, to_pinned, to_dense, to_size, numel, converts, free, moving = (
            numbers[:11]
        )
        to_device = not from_device
        # Measured on an H200: a non-blocking copy converts types on the device, so the host side needs no temporary.
        crossing_size = from_size if to_device and free else to_size
        plan = plan_copy(
            Side(bool(from_device), bool(from_pinned), bool(from_dense), from_size),
            Side(to_device, bool(to_pinned), bool(to_dense), crossing_size),
            numel,
            converts=bool(converts) and not free,
            non_blocking=bool(free),
        )
        if plan is not None:
            call = RuntimeCall(plan.direction, plan.memory, plan.size, plan.wait)
            self._engine.run(call, table.MOVE_OP if moving else table.COPY_OP)
        return 0

    def _read(self, numbers: Any) -> int:
        self._engine.run(read(numbers[0]), table.SCALAR_OP)
        return 0

    def _compute(self, numbers: Any) -> int:
        found = _OPERATORS[numbers[0]]
        arguments = found.arguments()
        with self._engine.unseen():
            answered, value = compute_otherwise(found.overload, found.name, arguments, torch.ops.syncwatch.error())
            if answered:
                torch.ops.syncwatch.answer(value)
        return int(answered)

    def _flops(self, numbers: Any) -> int:
        found = _OPERATORS[numbers[0]]
        if found.flops is None:
            return 0
        with self._engine.unseen():
            return found.flops(found.arguments(), {}, torch.ops.syncwatch.results())

    def _synchronize(self, numbers: Any) -> int:
        kind, stream, until = _KINDS[numbers[0]], StreamId(numbers[1]), numbers[2]
        self._engine.refuse_explicit(kind)
        self._engine.wait(kind, op=table.EXPLICIT_OP, explicit=True, stream=stream, until=None if until < 0 else until)
        return 0

    def _upload(self, numbers: Any) -> int:
        self._engine.run(upload(numbers[0]), table.MOVE_OP)
        return 0

    def _driver(self, numbers: Any) -> int:
        call, stream, start, end = AllocatorCall(numbers[0]), StreamId(numbers[1]), int(numbers[2]), int(numbers[3])
        if call is AllocatorCall.EVENT_SYNCHRONIZE:
            self._engine.allocator_called(SyncKind.EVENT, None, stream, Span(start, end))
        else:
            self._engine.allocator_called(SyncKind.ALLOCATION, _APIS[call], None, Span(start, end))
        return 0

    def _notify(self, numbers: Any) -> int:
        self._engine.notify_of_a_kernel()
        return 0
