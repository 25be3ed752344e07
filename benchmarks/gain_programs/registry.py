"""The list of the programs: each is a step that waits, and a flag that takes the wait away."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import ParamSpec, TypeVar

from benchmarks.gain_programs.machine import Machine

MODULES = (
    "reads",
    "several",
    "pacing",
    "end_of_step",
    "uploads",
    "masks",
    "streams",
    "threads",
    "backward",
    "training",
    "allocator",
    "decode",
    "sampling",
)
"""The modules of this package that hold programs, a family each."""

Step = Callable[[int, bool], object]
"""Runs step `index` of a program; the second argument says whether the wait is removed."""
_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Program:
    """One program of the set."""

    name: str
    family: str
    build: Callable[[Machine], Step]
    removes: tuple[str, ...]
    """The functions in which the waits lie that the flag removes; no other wait lies in them."""
    together: bool = False
    """Whether these are all implicit waits of the program: what is said of all together is held against the truth."""
    real_threads: bool = False
    """Whether one thread waits for another: the virtual clock has a time for each, and does not know of that."""


PROGRAMS: dict[str, Program] = {}


def add(
    family: str,
    name: str,
    build: Callable[[Machine], Step],
    *removes: str,
    together: bool = False,
    real_threads: bool = False,
) -> None:
    """Add a program whose flag removes the waits in the functions `removes`.

    Raises:
        ValueError: if there is one of this name.
    """
    if name in PROGRAMS:
        raise ValueError(f"two programs are called {name}")
    PROGRAMS[name] = Program(name, family, build, removes, together, real_threads)


def every_program() -> dict[str, Program]:
    """Return every program by name, the families in their order."""
    for name in MODULES:
        import_module(f"benchmarks.gain_programs.{name}")
    return PROGRAMS


class _Marking:
    mark: Callable[[str], AbstractContextManager[object]] | None = None


@contextlib.contextmanager
def marked_by(mark: Callable[[str], AbstractContextManager[object]]) -> Iterator[None]:
    """Give every function that waits a range of its name: a trace without stacks tells sites by their range."""
    before, _Marking.mark = _Marking.mark, mark
    try:
        yield
    finally:
        _Marking.mark = before


def waits(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Mark a function in which a program waits; its name tells the site in every recording."""

    @functools.wraps(function)
    def marked(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        if _Marking.mark is None:
            return function(*args, **kwargs)
        with _Marking.mark(function.__name__):
            return function(*args, **kwargs)

    return marked
