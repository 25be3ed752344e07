"""Answers: what does each operator do to the device? Residency of outputs, blocking calls, time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from syncwatch.sense.virtual.blocking_ops import OpCall
from syncwatch.sense.virtual.custom_ops import run_custom
from syncwatch.sense.virtual.engine import Engine, Target, ThreadState
from syncwatch.sense.virtual.fallback import run_on_cpu
from syncwatch.sense.virtual.moves import crossing
from syncwatch.sense.virtual.op_plans import FIRST_ON_DEVICE, HOST_OUTPUTS, OpKind, OpPlan, numel_bytes, plan_of
from syncwatch.sense.virtual.residency import Allocation, is_pinned, is_resident, mark_resident
from syncwatch.sense.virtual.runtime_calls import RuntimeCall

_MARK: Final = "_syncwatch_place"
_LISTS: Final = (list, tuple)
MIXED_DEVICES: Final = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"


class VirtualDispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own `__init_subclass__`
    """Sees every operator of one thread, also those inside composite ones and in backward."""

    def __init__(self, engine: Engine, state: ThreadState) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self._engine = engine
        self._state = state

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
        plan = plan_of(func)
        if not engine.active:
            return func(*args, **kwargs)
        if plan.kind is OpKind.VIEW:
            engine.clock.work(state.ident, engine.rates.view_ns)
            return func(*args, **kwargs)
        there, here, size = _survey(args)
        if kwargs:
            there_named, here_named, size_named = _survey(tuple(kwargs.values()))
            there, here, size = there or there_named, here or here_named, size + size_named
        on_device = self._belongs_on_device(there, without_inputs=not here and not size and not _has_tensor(args))
        if not on_device and not there:
            engine.clock.work(state.ident, engine.rates.host_ns(size))
            return func(*args, **kwargs)
        if plan.kind is OpKind.COPY:
            return self._copy(func, args, kwargs, size)
        if there and here and plan.checks_devices and on_device:
            raise RuntimeError(MIXED_DEVICES)
        return self._run(func, plan, args, kwargs, size, on_device)

    def _belongs_on_device(self, there: bool, *, without_inputs: bool) -> bool:
        target = self._state.target
        if target is not Target.INFER:
            return target is Target.DEVICE
        if there:
            return True
        # A factory inside a composite operator was given the options of an argument that lives on the device.
        return without_inputs and self._state.call != () and _any_resident(self._state.call)

    def _run(
        self, func: Any, plan: OpPlan, args: tuple[Any, ...], kwargs: dict[str, Any], size: int, on_device: bool
    ) -> Any:
        engine, state = self._engine, self._state
        calls: Sequence[RuntimeCall] = ()
        if plan.row is not None and not state.muted:
            calls = plan.row.calls(OpCall(plan.name, args, kwargs, plan.positions))
        if plan.random and on_device and kwargs.get("generator") is None:
            kwargs = {**kwargs, "generator": engine.generator}
        out = run_custom(self, func, args, kwargs) if plan.custom else run_on_cpu(func, args, kwargs)
        if plan.makes_tensors and on_device:
            size += self._mark(plan, out)
        if plan.kind is OpKind.KERNEL:
            engine.kernel(state, plan.name, self._duration(plan, args, kwargs, out, size))
        else:
            engine.clock.work(state.ident, engine.rates.view_ns)
        for call in calls:
            engine.run(state, call, plan.name)
        return out

    def _mark(self, plan: OpPlan, out: Any) -> int:
        if plan.name in HOST_OUTPUTS:
            return 0
        memory = self._engine.memory
        if isinstance(out, torch.Tensor):
            mark_resident(out, memory)
            return numel_bytes(out)
        size = 0
        if isinstance(out, (tuple, list)):
            if plan.name in FIRST_ON_DEVICE:
                out = out[:1]
            for each in out:
                if isinstance(each, torch.Tensor):
                    mark_resident(each, memory)
                    size += numel_bytes(each)
        return size

    def _duration(self, plan: OpPlan, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, size: int) -> int:
        rates = self._engine.rates
        if plan.flops is None:
            return rates.kernel_ns(size)
        first = out[0] if isinstance(out, (tuple, list)) else out
        width = first.element_size() if isinstance(first, torch.Tensor) else 4
        return rates.kernel_ns(size, plan.flops(args, kwargs, out), width)

    def _copy(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], size: int) -> Any:
        target, source = args[0], args[1]
        non_blocking = bool(args[2]) if len(args) > 2 else bool(kwargs.get("non_blocking", False))
        plan = crossing(
            source, target, on_device=is_resident(target), pinned=is_pinned(target), non_blocking=non_blocking
        )
        out = func(*args, **kwargs)
        engine, state = self._engine, self._state
        if plan is None:
            engine.kernel(state, "aten.copy_", engine.rates.kernel_ns(size))
        else:
            engine.run(state, RuntimeCall(plan.direction, plan.memory, plan.size, plan.wait), "aten.copy_")
        return out


def _survey(values: Sequence[Any]) -> tuple[bool, bool, int]:
    """Return whether a tensor is on the device, whether one with dimensions is on the host, and the bytes of all."""
    there = here = False
    size = 0
    for value in values:
        if isinstance(value, torch.Tensor):
            try:
                place = getattr(value.untyped_storage(), _MARK, None)
                size += value.numel() * value.element_size()
            except (NotImplementedError, RuntimeError):
                place = getattr(value, _MARK, None)
            if type(place) is Allocation:
                there = True
            elif value.dim():
                here = True
        elif type(value) in _LISTS and value and not isinstance(value[0], (int, float, str)):
            inner = _survey(value)
            there, here, size = there or inner[0], here or inner[1], size + inner[2]
    return there, here, size


def _has_tensor(values: Sequence[Any]) -> bool:
    return any(isinstance(value, torch.Tensor) for value in values)


def _any_resident(values: Sequence[Any]) -> bool:
    return _survey(values)[0]
