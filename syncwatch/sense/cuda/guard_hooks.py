"""Tells guards of waits on a CUDA GPU, through torch's sync debug mode, and through wrappers where it is silent.

torch's GPU trace would tell more, but it swallows what is raised. All guards of the process share these hooks;
which thread or task a wait belongs to, `ACTIVE_GUARDS` says.
"""

from __future__ import annotations

import threading
from types import FrameType

from syncwatch.compat.torch_cuda import debug_mode, set_debug_mode
from syncwatch.model.events import SyncKind
from syncwatch.sense import active
from syncwatch.sense.active import GuardedWait, notify_guard
from syncwatch.sense.cuda import blocking_copies
from syncwatch.sense.cuda.start import has_gpu
from syncwatch.sense.cuda.sync_warnings import SyncWarnings
from syncwatch.sense.cuda.waiting_calls import WaitingCalls
from syncwatch.sense.stacks import is_explicit

_DEFAULT, _WARN = 0, 1
"""Sync debug modes."""


class CudaHooks:
    """The hooks, on while at least one guard is; on a machine without a CUDA GPU nothing is hooked.

    The debug mode and the filters go off with the last guard. The wrappers of torch's functions stay, deaf: to put them
    on and off around each step of 1 ms cost 3 % of it on an H200 host (benchmarks/guard.py).
    """

    def __init__(self) -> None:
        self._guards = 0
        self._lock = threading.Lock()
        self._warnings = SyncWarnings(self._on_warning)
        self._set_mode = False
        self._wrapped = False
        self._calls = WaitingCalls(self._on_call)

    def enter(self) -> None:
        """Put the hooks on, unless another guard has."""
        if not has_gpu():
            return
        with self._lock:
            self._guards += 1
            if self._guards == 1:
                self._start()

    def leave(self) -> None:
        """Take the hooks off with the last guard; the user's debug mode and filters are then as they were."""
        if not has_gpu():
            return
        with self._lock:
            self._guards -= 1
            if self._guards == 0:
                self._stop()

    def _start(self) -> None:
        self._warnings.start()
        # Not torch.cuda's function, which would initialise CUDA; a user's "error" raises by itself.
        self._set_mode = debug_mode() == _DEFAULT
        if self._set_mode:
            set_debug_mode(_WARN)
        if not self._wrapped:
            # The debug mode is silent where the user asks for the device or an event.
            self._calls.start()
            self._wrapped = True
        blocking_copies.listen(self._on_copy)

    def _stop(self) -> None:
        blocking_copies.unlisten(self._on_copy, keep=True)
        if self._set_mode and debug_mode() == _WARN:
            set_debug_mode(_DEFAULT)
        self._warnings.stop()

    def _on_call(self, kind: SyncKind, asked: bool, frame: FrameType) -> None:
        notify_guard(GuardedWait(kind, explicit=asked, op=None, frame=frame))

    def _on_warning(self, frame: FrameType | None) -> bool:
        notify_guard(GuardedWait(SyncKind.STREAM, explicit=is_explicit(frame), op=None, frame=frame))
        # The user did not ask for warnings; a watch that runs inside the guard did.
        return self._set_mode and not active.recorders()

    def _on_copy(self, frame: FrameType | None) -> None:
        notify_guard(GuardedWait(SyncKind.COPY, explicit=False, op=None, frame=frame))


HOOKS = CudaHooks()
"""Those of this process."""
