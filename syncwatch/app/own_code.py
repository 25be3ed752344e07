"""Run code of the user's under a watch to its end, whichever way it ends: also by `os._exit`, or as another program.

Where it ends without coming back, the run is finished and reported first, on the thread that leaves. Ways out that
Python does not pass are the supervisor's matter.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

from syncwatch.app.checkpoints import Checkpoints, terminable
from syncwatch.app.outcome import Console, Finish, RunOutcome, ended, interrupted
from syncwatch.bench.target import Target
from syncwatch.errors import EXIT_INTERRUPTED, EXIT_NOT_MEASURED, NotMeasuredError, SyncwatchError
from syncwatch.model.events import SyncEvent, SyncKind
from syncwatch.model.session import Session
from syncwatch.sense.patching import Patches
from syncwatch.sense.processes.commands import command_name
from syncwatch.sense.processes.forks import is_child
from syncwatch.sense.watched_block import WatchedBlock


@dataclass(frozen=True, slots=True)
class ExitInfo:
    """How the target leaves."""

    status: int | None
    """The exit status that it gave `os._exit`; None where another program takes its place."""
    program: str = ""
    """What that is called."""


Conclude = Callable[[ExitInfo], int]
"""Ends the watch, reports, tells whoever started the process, and returns the exit code."""


class ExitHooks:
    """Inside the block, what leaves the watched process reports first.

    Args:
        conclude: is called at most once.
    """

    def __init__(self, conclude: Conclude) -> None:
        self._conclude = conclude
        self._owner = os.getpid()
        self._claimed: int | None = None
        """The thread that finishes the run."""
        self._lock = threading.Lock()
        self._patches = Patches()

    def __enter__(self) -> ExitHooks:
        global _on
        _hook()
        for owner in {os, sys.modules[os.name]}:
            self._patches.set(owner, "_exit", self._exit(os._exit))
        _on = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _on
        if os.getpid() == self._owner and not self._claim():
            # Another thread finishes the run, and ends the process.
            threading.Event().wait()
        _on = None
        self._patches.restore()

    def _claim(self) -> bool:
        """Return whether the calling thread may finish the run; only the first one ever may."""
        with self._lock:
            if self._claimed is None:
                self._claimed = threading.get_ident()
                return True
            return False

    def _exit(self, plain: Callable[[int], NoReturn]) -> Callable[[int], NoReturn]:
        def _exit(status: int) -> NoReturn:
            if os.getpid() != self._owner or self._claimed == threading.get_ident():
                plain(status)
            if not self._claim():
                threading.Event().wait()
            plain(self._conclude(ExitInfo(int(status))))

        return _exit

    def replaced(self, path: Any, words: Any) -> None:
        """Report before another program takes the place of this process, if it can."""
        # `os.execvp` tries every folder of PATH; most of these calls fail.
        program = Path(os.fsdecode(path))
        runs = program.is_file() and os.access(program, os.X_OK)
        if os.getpid() == self._owner and runs and self._claim():
            self._conclude(
                ExitInfo(None, command_name([os.fsdecode(path), *(os.fsdecode(word) for word in list(words)[1:])]))
            )


_on: ExitHooks | None = None
_hooked = False


def _hook() -> None:
    """Hear of `exec` in every form, also by names that the target has taken before; a hook stays for good."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "os.exec" and _on is not None:
        _on.replaced(arguments[0], arguments[1])


_OURS = Path(__file__).resolve().parents[1]


def run_code(
    target: Target,
    arguments: Sequence[str],
    watching: WatchedBlock,
    output: Path | None,
    finish: Finish,
    console: Console,
) -> RunOutcome:
    """Run `target` and return how it ended.

    Args:
        target: a script, a module or a function.
        arguments: its own.
        watching: the block in which it runs, not yet entered.
        output: where the run is kept, now and then while it goes on; None for nowhere.
        finish: what the caller will do with the outcome; called here where the target leaves the process itself.
        console: who started it.

    Raises:
        SyncwatchError: if it cannot be run or watched.
    """
    checkpoints = Checkpoints(output, watching.snapshot)
    watching.call_when_finished(checkpoints.hurry)

    def conclude(left: ExitInfo) -> int:
        def rest() -> int:
            checkpoints.close()
            return finish(_left(target.name, watching, left))

        code = console.exit_code_of(rest)
        console.settle()
        console.send_exit_code(code)
        return code

    status: object = None
    try:
        with checkpoints.periodically(), terminable(), watching, ExitHooks(conclude):
            console.announce(f"watching {target.name} on {watching.device_name()} ...")
            status = target.run(arguments, on_error=console.print_user_traceback)
            _watch_until_exit(watching, console)
            if console.is_supervised():
                # This process was started for the command alone.
                from syncwatch.bench.ending import skip_final_collections

                # It looks through the heap, where a checkpoint's thread may be making a tuple.
                checkpoints.close()
                skip_final_collections()
    except SyncwatchError:
        raise
    except KeyboardInterrupt as error:
        if is_child():
            _leave_child(EXIT_INTERRUPTED, console)
        return interrupted(watching.session, error)
    except BaseException as error:
        if is_child():
            _leave_child(1, console)
        if not watching.has_ended:
            why = f"{type(error).__name__}: {error}".rstrip(": ")
            said = f"The watch of {target.name} could not be ended ({why}), so nothing was judged."
            raise NotMeasuredError(
                f"{said} See what the target takes from Python, such as files or recursion."
            ) from error
        return ended(target.name, watching.session, f"raised {type(error).__name__}")
    succeeded = status is None or (isinstance(status, int) and status == 0)
    if is_child():
        _leave_child(status if isinstance(status, int) else int(not succeeded), console)
    if not succeeded:
        return ended(target.name, _cut_short(watching.session, "SystemExit"), f"ended with exit status {status}")
    return RunOutcome(watching.session)


def _left(name: str, watching: WatchedBlock, left: ExitInfo) -> RunOutcome:
    """Return how a run ended whose target leaves the process without coming back."""
    if left.status == 0:
        return RunOutcome(watching.end_early(()))
    if left.status is not None:
        session = watching.end_early([_cut_short_by("os._exit")])
        return ended(name, session, f"ended with exit status {left.status}")
    missing = f"The target replaced itself by another program ({left.program}), which is not watched."
    session = watching.end_early([missing])
    message = (
        f"{name} replaced itself by another program ({left.program}): the report covers what ran before. Watch that "
        "program itself."
    )
    return RunOutcome(session, EXIT_NOT_MEASURED, message)


def _cut_short(session: Session, how: str) -> Session:
    return replace(session, complete=False, missing=(*session.missing, _cut_short_by(how)))


def _cut_short_by(how: str) -> str:
    return f"The run was ended by {how}; what came after it is not in the report."


def _watch_until_exit(watching: WatchedBlock, console: Console) -> None:
    """Report waits to the supervisor between the end of the watch and that of the process."""
    if not console.is_supervised() or is_child():
        return

    def notify(event: SyncEvent | None) -> None:
        if event is None or event.kind is SyncKind.ALLOCATION or event.pacing or event.explicit or event.allowed:
            return
        console.send_late_wait(
            f"After the report was made, the CPU waited for the GPU at {_caller()}, while Python ended. That is in no "
            "report; end it before the target's code ends, then watch it again.",
        )

    watching.watch_until_exit(notify)


def _caller() -> str:
    """Return the line that waits: the innermost one that is neither ours nor torch's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if not path.is_relative_to(_OURS) and "torch" not in path.parts:
            return f"{path.name}:{frame.f_lineno}"
        frame = frame.f_back
    return "a place that has no line"


def _leave_child(code: int, console: Console) -> NoReturn:
    """End the child of a fork, which has nothing to report.

    At once, since an orderly end would stop the parent's profiler in a process where CUDA does not work.
    """
    console.settle()
    os._exit(code)
