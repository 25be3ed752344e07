"""Answers: what did the CUDA runtime do, and for how long? CUPTI's record, through torch.profiler."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from syncwatch.errors import NotMeasuredError
from syncwatch.model.collector import collector_off
from syncwatch.sense import active
from syncwatch.sense.profiler_trace import read_trace
from syncwatch.sense.runtime_trace import RuntimeTrace


class Cupti:
    """Runs torch.profiler with CUDA activity and synchronization events switched on."""

    name = "cupti"
    sees = "every runtime call, copy and kernel, from any library, with its time"
    blind_to: tuple[str, ...] = ("the Python line, which is joined from the other sensors",)

    def __init__(self) -> None:
        self._profiler: Any = None

    def unavailable(self) -> str | None:
        """Return why it cannot run here, or None."""
        if not torch.cuda.is_available():
            return "no CUDA GPU: use --device virtual"
        if torch.profiler.ProfilerActivity.CUDA not in torch.profiler.supported_activities():
            return "this torch was built without CUPTI: install a build with CUDA profiling"
        return None

    def start(self) -> None:
        """Start to record.

        Raises:
            NotMeasuredError: if CUPTI is taken, as by another profiler.
        """
        if active.profiling():
            raise NotMeasuredError("the watch around this one measures them, and CUPTI serves one at a time.")
        if active.subscribed():
            raise NotMeasuredError("the pass around this one has CUPTI's callbacks, which would blind torch.profiler.")
        if torch.autograd.profiler._is_profiler_enabled:
            # Found out before it is tried: a second start fails, and ends the first profiler as well.
            raise NotMeasuredError("another torch.profiler records already; end it and run again.")
        # Work that was queued before would be recorded without the calls that launched it.
        torch.cuda.synchronize()
        config = torch._C._profiler._ExperimentalConfig(enable_cuda_sync_events=True)
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        self._profiler = torch.profiler.profile(
            activities=activities,
            experimental_config=config,
            acc_events=True,  # without it torch warns of cycles, and there is only one
        )
        try:
            self._profiler.start()
        except RuntimeError as error:
            self._profiler = None
            raise NotMeasuredError(f"CUPTI did not start ({error}); end any other profiler and run again.") from error

    def stop(self) -> RuntimeTrace:
        """Stop, and return what was recorded.

        Raises:
            NotMeasuredError: if the profiler gave no trace.
        """
        profiler, self._profiler = self._profiler, None
        try:
            profiler.stop()
        except RuntimeError as error:
            raise NotMeasuredError(f"CUPTI was stopped by another profiler ({error}); end it and run again.") from error
        with tempfile.TemporaryDirectory(prefix="syncwatch-") as folder:
            path = Path(folder) / "trace.json"
            profiler.export_chrome_trace(str(path))
            del profiler
            with collector_off():
                return read_trace(json.loads(path.read_bytes().decode("utf-8", errors="replace")))
