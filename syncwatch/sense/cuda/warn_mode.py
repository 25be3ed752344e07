"""Holds torch's sync debug mode at "warn" for all who listen, and puts the program's own back with the last of them."""

from __future__ import annotations

from syncwatch.compat.torch_cuda import debug_mode, set_debug_mode

DEFAULT, WARN = 0, 1
"""Sync debug modes: the one that says nothing, and `"warn"`."""

_holders: list[object] = []
"""Who listens, the outermost first: Python asks the innermost first, and stops where a warning is taken."""
_programs = DEFAULT
"""The mode that the program had when the first of them began."""


def programs_mode() -> int:
    """Return the mode that the program has, or had when the first of us began to listen.

    Raises:
        NotMeasuredError: if the installed torch has no such mode.
    """
    return _programs if _holders else debug_mode()


def hold(holder: object) -> None:
    """Set the mode to "warn" until `holder` and all others have released it.

    Raises:
        NotMeasuredError: if the installed torch has no such mode.
    """
    global _programs
    _programs = programs_mode()
    set_debug_mode(WARN)
    _holders.append(holder)


def release(holder: object) -> None:
    """Let `holder` go; with the last of them the program's mode is put back, unless it has set one meanwhile."""
    if holder not in _holders:
        return
    _holders.remove(holder)
    if not _holders and debug_mode() == WARN:
        set_debug_mode(_programs)


def takes_warnings(holder: object) -> bool:
    """Return whether a warning ends at `holder`: it is the outermost, and the program did not ask for warnings."""
    return _holders[:1] in ([], [holder]) and _programs == DEFAULT
