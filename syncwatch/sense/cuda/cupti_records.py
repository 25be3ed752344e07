"""Records what the CUDA runtime and the GPU did, and for how long: CUPTI's record, through torch's profiler."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch

from syncwatch.compat.torch_cuda import profiler_is_on, profiler_options, records_all_threads
from syncwatch.errors import NotMeasuredError
from syncwatch.model.events import WINDOW_RANGE, collector_off
from syncwatch.sense import active
from syncwatch.sense.cuda.runtime_trace import RuntimeTrace, read_trace
from syncwatch.sense.cuda.start import WhenCudaStarts, has_gpu, is_initialized


class Cupti:
    """Runs torch's profiler with CUDA activity and synchronization events switched on.

    It begins when the program initialises CUDA, since before there is nothing to record, and to begin would do it.
    """

    name = "cupti"
    sees = "every runtime call, copy and kernel, from any library, with its time"
    blind_to: tuple[str, ...] = ("the Python line, which is joined from the other sensors",)

    def __init__(self) -> None:
        self._profiler: Any = None
        self._begun: WhenCudaStarts | None = None
        self._refused: str | None = None
        self._thread = 0
        self._marks: list[tuple[int, int]] = []

    def unavailable(self) -> str | None:
        """Return why it cannot run here, or None."""
        if not has_gpu():
            return "no CUDA GPU: use --device virtual"
        if torch.profiler.ProfilerActivity.CUDA not in torch.profiler.supported_activities():
            return "this torch was built without CUPTI: install a build with CUDA profiling"
        return None

    def start(self) -> None:
        """Record from now on, or from when CUDA is initialised.

        Raises:
            NotMeasuredError: if CUPTI is taken, as by another profiler.
        """
        self._thread = threading.get_ident()
        self._begun = WhenCudaStarts(self._begin)
        if self._refused is not None:
            raise NotMeasuredError(self._refused)

    def _begin(self) -> None:
        self._refused = self._taken()
        if self._refused is not None:
            return
        if is_initialized():
            # Work that was queued before would be recorded without the calls that launched it.
            torch.cuda.synchronize()
        profiler = torch.autograd.profiler.profile(
            use_device="cuda", use_kineto=True, experimental_config=self._configuration()
        )
        try:
            profiler.__enter__()
        except RuntimeError as error:
            self._refused = f"CUPTI did not start ({error}); end any other profiler and run again."
            return
        self._profiler = profiler
        active.set_profiling(True)
        self._mark()

    def _taken(self) -> str | None:
        """Return who has CUPTI, a sentence; None where it is free."""
        if active.profiling():
            return "the watch around this one measures them, and CUPTI serves one at a time."
        if active.subscribed():
            return "the pass around this one has CUPTI's callbacks, which would blind torch.profiler."
        if profiler_is_on():
            # Found out before it is tried: a second start fails, and ends the first profiler as well.
            return "another torch.profiler records already; end it and run again."
        if threading.get_ident() != self._thread and not records_all_threads():
            return (
                "CUDA was first used on another thread than the watch was begun on, where this torch cannot record. "
                "Call torch.cuda.init() before the thread is started, or use torch 2.11 or later."
            )
        return None

    def _configuration(self) -> Any:
        # A profiler of one thread can be ended on that thread alone.
        return profiler_options(all_threads=threading.get_ident() != self._thread)

    def _mark(self) -> None:
        """Bound the window, and note what the host's clock shows there."""
        mark = torch.autograd.profiler.record_function(WINDOW_RANGE)
        before = time.time_ns()
        mark.__enter__()
        entered = time.time_ns()
        mark.__exit__(None, None, None)
        self._marks.append((entered, time.time_ns()) if self._marks else (before, entered))

    def stop(self) -> tuple[RuntimeTrace, int]:
        """Stop, and return what was recorded, and by how many ns its clock is ahead of the host's.

        Raises:
            NotMeasuredError: if there is no record.
        """
        if self._begun is not None:
            self._begun.cancel()
        profiler, self._profiler = self._profiler, None
        if profiler is None:
            raise NotMeasuredError(self._refused or "CUDA was not initialised, so there was nothing to record.")
        self._mark()
        active.set_profiling(False)
        try:
            profiler.__exit__(None, None, None)
        except RuntimeError as error:
            raise NotMeasuredError(f"CUPTI was stopped by another profiler ({error}); end it and run again.") from error
        with tempfile.TemporaryDirectory(prefix="syncwatch-") as folder:
            path = Path(folder) / "trace.json"
            profiler.export_chrome_trace(str(path))
            del profiler
            with collector_off():
                trace = read_trace(path)
        return trace, self._ahead(trace)

    def _ahead(self, trace: RuntimeTrace) -> int:
        """Return the offset at the mark that bounds it best, which lies between two looks at the clock.

        An offset that is smaller than what the looks can tell apart is none.
        """
        width, offset = min(
            (after - before, moment - (before + after) // 2)
            for (before, after), moment in zip(self._marks, trace.window, strict=True)
        )
        return offset if abs(offset) > width else 0
