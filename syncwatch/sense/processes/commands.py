"""Tells whether a command runs Python. What runs no Python runs no torch either, as compilers and `git`."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_PYTHON = re.compile(r"(python|pypy|graalpy)[\d.]*[a-z]*(\.exe)?|ipython\d?|torchrun", re.IGNORECASE)
_SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "fish", "busybox")
_PASS_ON = (
    *("env", "nohup", "timeout", "nice", "ionice", "stdbuf", "setsid", "taskset", "numactl", "xargs", "exec", "time"),
    *("sudo", "chrt", "script", "mpirun", "mpiexec", "srun", "nsys", "ncu", "strace", "gdb", "catchsegv"),
)
"""Programs that run what is named after them."""
_OWN_HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver", "torch/_inductor/", "torch._inductor")
"""Parts of the arguments of processes that Python and torch start for themselves, and that run no code of the user's.

A fork server runs none until a process is started on it, and that is noticed by itself.
"""
_SEPARATORS = re.compile(r"&&|\|\||[;|&\n()]")
_PLAIN = re.compile(r"[\w./+-]+")
_MOST = 1 << 16


def runs_python(words: Sequence[str], executable: str | None = None) -> bool:
    """Return whether the command `words` runs Python code of the user's, as far as its words and files tell.

    Args:
        words: the program and its arguments.
        executable: the file that is run, where that is another than the first word.
    """
    if any(mark in word for word in words for mark in _OWN_HELPERS):
        return False
    programs = [each for each in (executable, words[0] if words else None) if each]
    if any(_is_python(each) for each in programs):
        return True
    names = [Path(each).name for each in programs]
    if any(name in _SHELLS for name in names):
        return _shell_runs_python(words[1:])
    return any(name in _PASS_ON for name in names) and any(_is_python(word) for word in words[1:])


def line_runs_python(line: str) -> bool:
    """Return whether a command line for the shell does."""
    return any(runs_python(words) for words in _commands(line))


def command_name(words: Sequence[str]) -> str:
    """Return what a command may be called in a report: the program and what it runs, no other argument, no folder."""
    if not words:
        return "a program"
    program, *rest = words
    shown = Path(program).name
    for number, word in enumerate(rest):
        if word == "-m" and rest[number + 1 :]:
            return f"{shown} -m {rest[number + 1]}"
        if word.startswith("-") and word.endswith("c"):
            return f"{shown} -c ..."
        if not word.startswith("-"):
            # What has spaces or signs in it may be a command of its own, or a secret.
            return f"{shown} {Path(word).name}" if _PLAIN.fullmatch(word) else f"{shown} ..."
    return shown


def _shell_runs_python(arguments: Sequence[str]) -> bool:
    for number, word in enumerate(arguments):
        if word.startswith("-") and word.endswith("c") and number + 1 < len(arguments):
            return line_runs_python(arguments[number + 1])
        if not word.startswith("-"):
            return line_runs_python(_text_of(word))
    # It reads its commands from its input, which is not known.
    return True


def _commands(line: str) -> Iterator[list[str]]:
    for part in _SEPARATORS.split(line):
        try:
            words = shlex.split(part, comments=True)
        except ValueError:
            words = part.split()
        while words and ("=" in words[0] or words[0] in ("if", "then", "else", "do", "!", "{", "while")):
            words = words[1:]
        if words:
            yield words


def _is_python(program: str) -> bool:
    """Return whether `program` is Python, or a file that says on its first line that Python runs it."""
    if _PYTHON.fullmatch(Path(program).name) or program == sys.executable:
        return True
    found = program if os.sep in program else shutil.which(program)
    first = _text_of(found, 200).partition("\n")[0] if found else ""
    # What installers write for a long path: a shell that hands the file to Python on its second line.
    return first.startswith("#!") and ("python" in first or "pypy" in first)


def _text_of(path: str, most: int = _MOST) -> str:
    """Return the beginning of the file; empty where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(most).decode(errors="replace")
    except (OSError, ValueError):
        return ""
