"""Answers: what does each operator do to the device? Residency of outputs, blocking calls, time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import torch
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode

from syncwatch.sense.virtual import op_names
from syncwatch.sense.virtual.blocking_ops import OpCall
from syncwatch.sense.virtual.custom_ops import run_custom
from syncwatch.sense.virtual.engine import Engine, Target, ThreadState
from syncwatch.sense.virtual.fallback import run_otherwise
from syncwatch.sense.virtual.moves import crossing
from syncwatch.sense.virtual.op_plans import FIRST_ON_DEVICE, HOST_OUTPUTS, PLANS, OpKind, OpPlan, plan_of
from syncwatch.sense.virtual.residency import MARK, Allocation, is_pinned, is_resident, mark_resident
from syncwatch.sense.virtual.runtime_calls import RuntimeCall

_NUMBERS: Final = (int, float, bool, str)
MIXED_DEVICES: Final = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"


class VirtualDispatchMode(TorchDispatchMode):
    """Sees every operator of one thread, also those inside composite ones and in backward."""

    supports_higher_order_operators = True
    """Told of `flex_attention` and its like, which are no operators with a schema."""

    def __init__(self, engine: Engine, state: ThreadState) -> None:
        TorchDispatchMode.__init__(self)
        self._engine = engine
        self._state = state

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing is compiled while the device is on, and torch's guard against it costs 5 us an operator.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator, and let the engine know."""
        if torch._C._is_torch_function_mode_enabled():
            # In backward the function mode is still on, and would see what this method itself asks of tensors.
            with torch._C.DisableTorchFunction():
                return self._handle(func, args, kwargs or {})
        return self._handle(func, args, kwargs or {})

    def _handle(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        engine, state = self._engine, self._state
        if isinstance(func, HigherOrderOperator):
            return self._run_body(func, args, kwargs)
        plan = PLANS.get(func) or plan_of(func)
        if plan.kind is OpKind.VIEW or not engine.active:
            engine.clock.work(state.ident, engine.rates.view_ns)
            return plan.call(*args, **kwargs)
        if plan.kind is OpKind.COMPOSITE:
            with self:
                return func.decompose(*args, **kwargs)
        there, here, size = _survey(args)
        if kwargs:
            there_named, here_named, size_named = _survey(kwargs.values())
            there, here, size = there or there_named, here or here_named, size + size_named
        on_device = there
        if state.target is not Target.INFER:
            on_device = state.target is Target.DEVICE
        elif not there and not here and not size:
            on_device = self._factory_on_device(args)
        if not on_device and not there:
            engine.clock.work(state.ident, engine.rates.host_ns(size))
            return plan.call(*args, **kwargs)
        if plan.kind is OpKind.COPY:
            return self._copy(func, args, kwargs, size)
        if there and here and plan.checks_devices and on_device:
            raise RuntimeError(MIXED_DEVICES)
        if plan.plain and on_device and engine.capture is None and (plan.row is None or not _any_sparse(args)):
            return self._run_plain(func, plan, args, kwargs, size)
        return self._run(func, plan, args, kwargs, size, on_device)

    def _run_body(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run what a higher-order operator is made of, watched; one that has no such body runs unseen."""
        body = func.py_kernels.get(torch._C.DispatchKey.CompositeExplicitAutograd)
        if body is None:
            return func(*args, **kwargs)
        with self:
            return body(*args, **kwargs)

    def _factory_on_device(self, args: tuple[Any, ...]) -> bool:
        """Return whether an operator without inputs belongs on the device.

        A factory inside a composite operator was given the options of an argument that lives there.
        """
        call = self._state.call
        return bool(call) and not any(isinstance(value, torch.Tensor) for value in args) and _survey(call)[0]

    def _run_plain(self, func: Any, plan: OpPlan, args: tuple[Any, ...], kwargs: dict[str, Any], size: int) -> Any:
        """Do what `_run` does for most operators, with nothing in the way."""
        engine = self._engine
        try:
            out = plan.call(*args, **kwargs)
        except (RuntimeError, NotImplementedError) as error:
            out = run_otherwise(func, args, kwargs, error)
        if type(out) is torch.Tensor:
            mark_resident(out, engine.memory)
            size += out.numel() * out.element_size()
        else:
            size += self._mark(plan, out)
        duration = engine.rates.kernel_ns(size)
        if plan.flops is not None:
            duration = self._duration(plan.flops(args, kwargs, out), size, out)
        engine.kernel(self._state, plan.name, duration)
        return out

    def _run(
        self, func: Any, plan: OpPlan, args: tuple[Any, ...], kwargs: dict[str, Any], size: int, on_device: bool
    ) -> Any:
        engine, state = self._engine, self._state
        calls: Sequence[RuntimeCall] = ()
        if plan.row is not None and not state.muted:
            calls = plan.row.calls(OpCall(plan.name, args, kwargs, plan.positions))
        if plan.custom:
            out = run_custom(self, state.function_mode, func, args, kwargs)
        elif plan.random and on_device and kwargs.get("generator") is None:
            with engine.own_numbers():
                out = self._compute(plan, func, args, kwargs)
        else:
            out = self._compute(plan, func, args, kwargs)
        if engine.capture is not None:
            engine.capture.operator(plan.call, args, kwargs, out)
        if plan.makes_tensors and on_device:
            size += self._mark(plan, out)
        if plan.kind is OpKind.KERNEL:
            duration = engine.rates.kernel_ns(size)
            if plan.flops is not None:
                duration = self._duration(plan.flops(args, kwargs, out), size, out)
            engine.kernel(state, plan.name, duration)
        else:
            engine.clock.work(state.ident, engine.rates.view_ns)
        for call in calls:
            engine.run(state, call, plan.name)
        return out

    def _compute(self, plan: OpPlan, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return plan.call(*args, **kwargs)
        except (RuntimeError, NotImplementedError) as error:
            return run_otherwise(func, args, kwargs, error)

    def _mark(self, plan: OpPlan, out: Any) -> int:
        memory = self._engine.memory
        if isinstance(out, torch.Tensor):
            if plan.name in HOST_OUTPUTS:
                return 0
            mark_resident(out, memory)
            return out.numel() * out.element_size()
        size = 0
        if isinstance(out, (tuple, list)):
            for each in out[:1] if plan.name in FIRST_ON_DEVICE else out:
                if isinstance(each, torch.Tensor):
                    mark_resident(each, memory)
                    size += each.numel() * each.element_size()
        return size

    def _duration(self, flops: int, size: int, out: Any) -> int:
        first = out[0] if isinstance(out, (tuple, list)) else out
        width = first.element_size() if isinstance(first, torch.Tensor) else 4
        return self._engine.rates.kernel_ns(size, flops, width)

    def _copy(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], size: int) -> Any:
        target, source = args[0], args[1]
        non_blocking = bool(args[2]) if len(args) > 2 else bool(kwargs.get("non_blocking", False))
        plan = crossing(
            source, target, on_device=is_resident(target), pinned=is_pinned(target), non_blocking=non_blocking
        )
        out = func(*args, **kwargs)
        engine, state = self._engine, self._state
        if engine.capture is not None:
            engine.capture.operator(func, args, dict(kwargs), out)
        if plan is None:
            engine.kernel(state, op_names.COPY, engine.rates.kernel_ns(size))
        else:
            engine.run(state, RuntimeCall(plan.direction, plan.memory, plan.size, plan.wait), op_names.COPY)
        return out


def _any_sparse(values: Iterable[Any]) -> bool:
    return any(isinstance(value, torch.Tensor) and value.layout is not torch.strided for value in values)


def _survey(values: Iterable[Any]) -> tuple[bool, bool, int]:
    """Return whether a tensor is on the device, whether one with dimensions is on the host, and the bytes of all."""
    there = here = False
    size = 0
    for value in values:
        kind = type(value)
        if kind is torch.Tensor or kind is torch.nn.Parameter or isinstance(value, torch.Tensor):
            try:
                place = getattr(value.untyped_storage(), MARK, None)
                size += value.numel() * value.element_size()
            except (NotImplementedError, RuntimeError):
                place = getattr(value, MARK, None)
            if type(place) is Allocation:
                there = True
            elif value.dim():
                here = True
        elif (kind is list or kind is tuple) and value and type(value[0]) not in _NUMBERS:
            inner = _survey(value)
            there, here, size = there or inner[0], here or inner[1], size + inner[2]
    return there, here, size
