"""The console that a run of the command line has: the terminal, and the supervisor's pipe."""

from __future__ import annotations

from syncwatch.cli.delivery import deliver, deliver_late, is_supervised
from syncwatch.cli.refusing import exit_code_of
from syncwatch.cli.screen import announce, print_user_traceback, progress
from syncwatch.cli.streams import only_documents, settle

__all__ = [
    "announce",
    "deliver",
    "deliver_late",
    "exit_code_of",
    "is_supervised",
    "only_documents",
    "print_user_traceback",
    "progress",
    "settle",
]
