"""The console that a run of the command line has: the terminal, and the supervisor's pipe."""

from __future__ import annotations

from syncwatch.cli.screen import announce, exit_code_of, print_user_traceback, progress
from syncwatch.cli.streams import only_documents, settle
from syncwatch.cli.supervisor import is_supervised, send_exit_code, send_late_wait

__all__ = [
    "announce",
    "exit_code_of",
    "is_supervised",
    "only_documents",
    "print_user_traceback",
    "progress",
    "send_exit_code",
    "send_late_wait",
    "settle",
]
