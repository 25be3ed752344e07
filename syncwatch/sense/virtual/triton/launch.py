"""Runs Triton kernels without a GPU, in Triton's interpreter; a launch is one kernel on the stream."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

import torch

from syncwatch.compat import triton_interpreter as names
from syncwatch.compat.tried import missing_name_sentence, newer_here
from syncwatch.errors import NotMeasuredError
from syncwatch.sense.patching import Patches
from syncwatch.sense.virtual.engine import Engine
from syncwatch.sense.virtual.triton import numbers as triton_numbers

_VARIABLE = "TRITON_INTERPRET"
_NOT_TUNED = (
    "Triton's autotuner took the first configuration of each kernel; on a GPU it times them all in the first call, and "
    "waits while it does."
)


def require_interpreter(patches: Patches) -> None:
    """Choose Triton's interpreter for every kernel that is defined from now on, until `patches` are taken back.

    Raises:
        NotMeasuredError: if kernels were defined before, for the compiler.
    """
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "1"
    patches.undo_with(lambda: _set_variable(before))
    if "triton" not in sys.modules:
        return
    compiled = _compiled_kernel()
    if compiled is not None:
        raise NotMeasuredError(
            f"The Triton kernel {compiled} was defined before the virtual device started, so it can only run on a "
            f"GPU. Set {_VARIABLE}=1 in the environment, or start the device before importing it."
        )


def _set_variable(value: str | None) -> None:
    if value is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = value


def _compiled_kernel() -> str | None:
    """Return the name of a kernel outside Triton itself that was defined for the compiler, or None."""
    jit = sys.modules.get("triton.runtime.jit")
    function = getattr(jit, "JITFunction", None)
    if function is None:
        return None
    for name, module in list(sys.modules.items()):
        if module is None or name.split(".")[0] in ("triton", "torch", "__mp_main__"):
            continue
        for attribute, value in list(vars(module).items()):
            if isinstance(value, function) and getattr(value, "__module__", name) == name:
                return f"{name}.{attribute}"
    return None


def patch(patches: Patches, engine: Engine) -> None:
    """Make each launch in the interpreter one kernel on the current stream, that works on the arguments themselves.

    Raises:
        NotMeasuredError: if this Triton launches kernels by other names.
    """
    if importlib.util.find_spec("triton") is None:
        return
    try:
        from triton.runtime import interpreter
        from triton.runtime.errors import InterpreterError

        plain = names.LAUNCH.get()
        executor: Any = interpreter.GridExecutor
    except (ImportError, AttributeError, NotMeasuredError) as error:
        raise NotMeasuredError(missing_name_sentence(f"cannot run Triton kernels ({error})")) from error
    refusal = _mend_numbers(patches)

    def launch(self: Any, *arguments: Any, **named: Any) -> None:
        if not engine.active or named.get("warmup"):
            plain(self, *arguments, **named)
            return
        if refusal is not None:
            raise NotMeasuredError(refusal)
        with engine.unseen():
            try:
                plain(self, *arguments, **named)
            except InterpreterError as error:
                if newer_here():
                    raise NotMeasuredError(
                        missing_name_sentence(f"cannot run the kernel {_name(self)} ({error})")
                    ) from error
                raise
            size = _bytes([*arguments, *named.values()])
        engine.kernel(_name(self), engine.rates.kernel_ns(size))

    patches.set(executor, "__call__", launch)
    # The interpreter copies what a kernel is given from the GPU and back. Here that is host memory already; and in
    # torch 2.9 the copies, which are in a reference cycle, take the marks of their storages with them when Python
    # collects them.
    patches.set_private_if_there(names.COPY_IN, lambda self, given, named: (list(given), dict(named)))
    patches.set_private_if_there(names.COPY_OUT, lambda self, *arguments: None)
    _choose_without_timing(patches, engine)


def _choose_without_timing(patches: Patches, engine: Engine) -> None:
    """Let an autotuner take the first of its configurations: the interpreter's times say nothing of a GPU."""
    plain = names.BENCHMARK.get_or(None)
    if plain is None:
        return

    def bench(self: Any, *arguments: Any, **named: Any) -> Any:
        given = names.timer_of(self)
        if not engine.active or not str(getattr(given, "__module__", "triton")).startswith("triton"):
            return plain(self, *arguments, **named)
        engine.notes.add(_NOT_TUNED)
        return [0.0, 0.0, 0.0]

    patches.set_private(names.BENCHMARK, bench)


def _mend_numbers(patches: Patches) -> str | None:
    """Mend what the interpreter computes; return why no kernel may run where that cannot be done, else None."""
    mended = Patches()
    try:
        triton_numbers.patch(mended)
    except (ImportError, AttributeError, TypeError, NotMeasuredError) as error:
        mended.restore()
        return missing_name_sentence(f"cannot run Triton kernels: bfloat16 would be wrong ({error})")
    patches.undo_with(mended.restore)
    return None


def _name(executor: Any) -> str:
    return str(getattr(executor.fn, "__name__", "triton_kernel"))


def _bytes(arguments: list[Any]) -> int:
    """Return the bytes of the tensors that a kernel was given, each storage once."""
    storages: dict[int, int] = {}
    for given in arguments:
        # A tensor descriptor holds its tensor as `base`.
        argument = getattr(given, "base", None) if type(given).__name__ == "TensorDescriptor" else given
        if isinstance(argument, torch.Tensor):
            size = argument.numel() * argument.element_size()
            start = argument.data_ptr()
            storages[start] = max(storages.get(start, 0), size)
    return sum(storages.values())
