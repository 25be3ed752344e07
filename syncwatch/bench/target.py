"""Answers: which code of the user's does a target name, and how is it run as if it had been started alone?"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from syncwatch.errors import UsageError
from syncwatch.model.project import path_in, project_root


@dataclass(frozen=True, slots=True)
class Target:
    """A script, a module or a function of the user's."""

    name: str
    """What the report calls it."""
    call: Callable[[], object]
    started_as: str
    """Its `sys.argv[0]`."""

    def run(self, arguments: Sequence[str]) -> None:
        """Run it with `arguments` as its `sys.argv[1:]`; whatever it raises passes through."""
        with _as_main(self.started_as, arguments):
            self.call()


def is_code(text: str) -> bool:
    """Return whether `text` names code of the user's: only files called .py are run, whatever another may hold."""
    return text.endswith(".py") or (":" in text and not Path(text).exists())


def script(text: str) -> Target:
    """Return the script at path `text`.

    Raises:
        UsageError: if there is no such file.
    """
    path = Path(text)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UsageError(f"The script {text} {what}. Give the path of a Python file, relative to this folder.")

    def call() -> None:
        with _first_on_path(path.resolve().parent):
            # As Python itself does: the code may leave the folder, and its lines must still be found.
            runpy.run_path(str(path.absolute()), run_name="__main__")

    return Target(_name_of(path, text), call, text)


def _name_of(path: Path, text: str) -> str:
    """Return what the report calls a script: the same from every folder of the project, and without its owner's home.

    What lies outside the project is called as it was typed, or by its own name alone.
    """
    inside = path_in(project_root(Path.cwd()), path.absolute())
    return inside or (path.name if path.is_absolute() else text)


def module(name: str) -> Target:
    """Return the module `name`, to be run as `python -m` would."""

    def call() -> None:
        with _first_on_path(Path.cwd()):
            _require(name, name)
            runpy.run_module(name, run_name="__main__", alter_sys=True)

    return Target(name, call, name)


def function(text: str) -> Target:
    """Return the function that `text` names as `pkg.mod:function`; it is called without arguments.

    Raises:
        UsageError: if the text has no such form.
    """
    name, _, attribute = text.partition(":")
    if not name or not attribute.isidentifier():
        raise UsageError(f"{text!r} names no function. Write it as pkg.mod:function.")

    def call() -> None:
        with _first_on_path(Path.cwd()):
            _require(name, text)
            found = getattr(importlib.import_module(name), attribute, None)
            if not callable(found):
                raise UsageError(f"{name} has no function {attribute!r}. Write the target as pkg.mod:function.")
            found()

    return Target(text, call, text)


def _require(name: str, target: str) -> None:
    """Refuse a module that cannot be found; an import that fails inside it is the user's own error."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise UsageError(f"There is no module {name!r} for the target {target!r}. Run from the folder that holds it.")


@contextlib.contextmanager
def _as_main(name: str, arguments: Sequence[str]) -> Iterator[None]:
    before = sys.argv
    sys.argv = [name, *arguments]
    try:
        yield
    finally:
        sys.argv = before


@contextlib.contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)
