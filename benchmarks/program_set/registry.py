"""The list of the programs: each is a function without arguments that runs on "cuda", with the libraries it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

MODULES = (
    "training",
    "vision",
    "audio",
    "language",
    "generation",
    "graphs",
    "probability",
    "reinforcement",
    "diffusion",
    "layouts",
    "numerics",
    "runtime",
)
"""The modules of this package that hold programs."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program of the set."""

    name: str
    function: Callable[[], object]
    libraries: tuple[str, ...]
    """What it imports beside torch."""


PROGRAMS: dict[str, Program] = {}


def program(*libraries: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Add a function to `PROGRAMS` under its name, with the libraries that it imports."""

    def enter(function: Callable[[], object]) -> Callable[[], object]:
        if function.__name__ in PROGRAMS:
            raise ValueError(f"two programs are called {function.__name__}")
        PROGRAMS[function.__name__] = Program(function.__name__, function, libraries)
        return function

    return enter


def every_program() -> dict[str, Program]:
    """Return every program by name; this imports torch, and no other library."""
    for name in MODULES:
        import_module(f"benchmarks.program_set.{name}")
    return PROGRAMS
