"""Finds the user's code that a target on the command line names, and runs it as if it had been started alone.

What a function only returned is run to its end: calling an `async def` or a generator function runs none of its code.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import inspect
import io
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from syncwatch.bench.ending import Ending
from syncwatch.errors import SyncwatchError, UsageError
from syncwatch.model.paths import path_in, project_root


def run_to_end(result: object, target: str) -> None:
    """Run what `result` has still to do: await it, iterate over it, or wait for it; anything else is left as it is.

    Args:
        result: what the function `target` returned.
        target: how the user named it.

    Raises:
        UsageError: if it is awaitable and cannot be awaited here, as a future of an event loop that has ended.
    """
    # A value that it gives is driven too: a coroutine that returns a generator has still done nothing.
    while True:
        if isinstance(result, Future):
            result = result.result()
        elif isinstance(result, asyncio.Future):
            if not result.done():
                raise UsageError(
                    f"{target} returned a future of an event loop that no longer runs, so that it never ends. Make it "
                    "an `async def` that awaits it."
                )
            result = result.result()
        elif inspect.isawaitable(result):
            result = asyncio.run(_awaited(result))
        elif isinstance(result, AsyncIterator):
            asyncio.run(_exhausted(result))
            return
        elif isinstance(result, Iterator) and not isinstance(result, io.IOBase):
            for _ in result:
                pass
            return
        else:
            return


async def _awaited(result: Awaitable[Any]) -> Any:
    found = await result
    if isinstance(found, AsyncIterator):
        # In the loop that made it.
        await _exhausted(found)
        return None
    return found


async def _exhausted(result: AsyncIterator[Any]) -> None:
    async for _ in result:
        pass


@dataclass(frozen=True, slots=True)
class Target:
    """A script, a module or a function of the user's."""

    name: str
    """What the report calls it."""
    call: Callable[[], None]
    started_as: str
    """Its `sys.argv[0]`."""
    folder: Path
    """The first entry of its `sys.path`."""

    def run(self, arguments: Sequence[str], on_error: Callable[[BaseException], None] = lambda error: None) -> object:
        """Run it with `arguments` as its `sys.argv[1:]`, to the end of its threads and of what it gave `atexit`.

        Args:
            arguments: its own.
            on_error: told of what it raised before its threads are joined, when Python would write the traceback.

        Returns:
            What it gave `sys.exit`; None where it just ended.

        Raises:
            BaseException: what it raised. After KeyboardInterrupt nothing is waited for any more.
        """
        status: object = None
        with _as_main(self.started_as, arguments), _first_on_path(self.folder), Ending() as ending:
            try:
                self.call()
            except SystemExit as end:
                status = end.code
            except (KeyboardInterrupt, SyncwatchError):
                raise
            except BaseException as error:
                on_error(error)
                ending.reach()
                raise
            ending.reach()
        ending.forget()
        return status


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
        # As Python itself does: the code may leave the folder, and its lines must still be found.
        text_path = str(path.absolute())
        loader = SourceFileLoader("__main__", text_path)
        code = compile(path.read_bytes(), text_path, "exec")
        _execute(code, __file__=text_path, __loader__=loader, __cached__=None)

    return Target(_name_of(path, text), call, text, path.resolve().parent)


def _name_of(path: Path, text: str) -> str:
    """Return what the report calls a script: the same from every folder of the project, and without its owner's home.

    What lies outside the project is called as it was typed, or by its own name alone.
    """
    inside = path_in(project_root(Path.cwd()), path.absolute())
    return inside or (path.name if path.is_absolute() else text)


def module(name: str) -> Target:
    """Return the module `name`, to be run as `python -m` would."""

    def call() -> None:
        spec = _main_spec(name)
        code = spec.loader.get_code(spec.name) if isinstance(spec.loader, InspectLoader) else None
        if code is None:
            raise UsageError(f"{name} has no Python code to run. Name a module that is written in Python.")
        sys.argv[0] = spec.origin or name
        _execute(
            code,
            __file__=spec.origin,
            __loader__=spec.loader,
            __cached__=spec.cached,
            __spec__=spec,
            __package__=spec.parent,
        )

    return Target(name, call, name, Path.cwd())


def function(text: str) -> Target:
    """Return the function that `text` names as `pkg.mod:function`; it is called without arguments.

    Raises:
        UsageError: if the text has no such form.
    """
    name, _, attribute = text.partition(":")
    if not name or not all(part.isidentifier() for part in attribute.split(".")):
        raise UsageError(f"{text!r} names no function. Write it as pkg.mod:function.")

    def call() -> None:
        _require(name, text)
        found: Any = importlib.import_module(name)
        for part in attribute.split("."):
            found = getattr(found, part, None)
        if not callable(found):
            raise UsageError(f"{name} has no function {attribute!r}. Write the target as pkg.mod:function.")
        run_to_end(found(), text)

    return Target(text, call, text, Path.cwd())


def _main_spec(name: str) -> ModuleSpec:
    """Return the module that `python -m name` runs: of a package, its `__main__`."""
    spec = _require(name, name)
    if spec.submodule_search_locations is None:
        return spec
    found = importlib.util.find_spec(f"{name}.__main__")
    if found is None:
        raise UsageError(f"{name} is a package without __main__.py. Name the module in it that is to be run.")
    return found


def _execute(code: CodeType, **names: object) -> None:
    """Run `code` as the module `__main__`, which it stays: threads and `atexit` callbacks may ask for it later.

    `runpy` takes it away when the code has ended.
    """
    main = ModuleType("__main__")
    vars(main).update({"__spec__": None, "__package__": None, **names})
    sys.modules["__main__"] = main
    exec(code, vars(main))


def _require(name: str, target: str) -> ModuleSpec:
    """Return where the module is, or refuse; an import that fails inside it is the user's own error."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise UsageError(f"There is no module {name!r} for the target {target!r}. Run from the folder that holds it.")
    return found


@contextlib.contextmanager
def _as_main(name: str, arguments: Sequence[str]) -> Iterator[None]:
    argv, main = sys.argv, sys.modules["__main__"]
    sys.argv = [name, *arguments]
    try:
        yield
    finally:
        sys.argv = argv
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)
