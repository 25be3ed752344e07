"""Knows who asked torch for a GPU before the virtual device was on, and says so of a test that never came to the GPU.

A module that asks while it is imported keeps the answer, so that its tests go on on the CPU and pass.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

_MODULE = "torch.cuda"
_QUESTIONS = ("is_available", "device_count")


@dataclass
class GpuQuestions:
    """The questions that were answered with no, by the place that asked."""

    places: dict[str, None] = field(default_factory=dict)
    _wrapped: list[tuple[ModuleType, str, Any, Any]] = field(default_factory=list)
    _finder: _Finder | None = None

    def start(self) -> None:
        """Record the questions from now on; torch is not imported for it."""
        if _MODULE in sys.modules:
            self.wrap(sys.modules[_MODULE])
        else:
            self._finder = _Finder(self.wrap)
            sys.meta_path.insert(0, self._finder)

    def stop(self) -> None:
        """Put everything back."""
        if self._finder is not None and self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        for module, name, wrapper, plain in self._wrapped:
            if vars(module).get(name) is wrapper:
                setattr(module, name, plain)
        self._wrapped.clear()

    def wrap(self, module: ModuleType) -> None:
        """Record the questions that are put to `module`."""
        for name in _QUESTIONS:
            plain = getattr(module, name)
            wrapper = self._recording(name, plain)
            setattr(module, name, wrapper)
            self._wrapped.append((module, name, wrapper, plain))

    def _recording(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(plain)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            answer = plain(*args, **kwargs)
            if not answer and (place := _place(sys._getframe(1))) is not None:
                self.places.setdefault(f"{_MODULE}.{name}() at {place}")
            return answer

        return wrapper


def _place(frame: FrameType) -> str | None:
    """Return the file and line that asked; None for torch and syncwatch themselves, which keep no answer."""
    module = str(frame.f_globals.get("__name__", ""))
    if module.partition(".")[0] in ("torch", "triton", "syncwatch"):
        return None
    path = Path(frame.f_code.co_filename)
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"{path if not path.is_absolute() else path.name}:{frame.f_lineno}"


class _Finder(MetaPathFinder):
    """Tells when torch.cuda has been imported."""

    def __init__(self, then: Callable[[ModuleType], None]) -> None:
        self._then = then
        self._looking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what the other finders find, with a loader that tells; None for every other module."""
        if fullname != _MODULE or self._looking:
            return None
        self._looking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._then)
        return spec


class _Loader(Loader):
    def __init__(self, plain: Loader, then: Callable[[ModuleType], None]) -> None:
        self._plain = plain
        self._then = then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._plain.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._plain.exec_module(module)
        if module.__spec__ is not None:
            # `inspect` and others ask the loader for the source.
            module.__spec__.loader = module.__loader__ = self._plain
        self._then(module)


_GPU = re.compile(r"cuda|gpu|nvidia|accelerator", re.IGNORECASE)
_MAX_PLACES = 2
_NEXT = "Run pytest with --syncwatch-device virtual, which puts the virtual device on before anything is imported"


def unused_sentence(asked_by: str, path: Path, asked: GpuQuestions) -> str:
    """Return why a test that `asked_by` watches fails although nothing in it waited, and what to do."""
    said = f"{asked_by}: the test never used the GPU (no kernel, copy, wait or allocation), so nothing was judged."
    places = _places(path, asked)
    if places:
        return f"{said} Before the virtual device was on, {places} was answered no. {_NEXT}, or ask inside the test."
    return f'{said} Put its tensors on device="cuda", or take {asked_by} off it.'


def skipped_for_want_of_a_gpu(reason: str, path: Path, asked: GpuQuestions) -> str | None:
    """Return what to say of a watched test that was skipped for `reason`, if that answer is to blame; else None."""
    places = _places(path, asked)
    if not places or not (_GPU.search(reason) or reason.endswith("unconditional skip")):
        return None
    return (
        f"A watched test was skipped for want of a GPU ({reason}), so nothing was judged. "
        f"Before the virtual device was on, {places} was answered no. {_NEXT}."
    )


def _places(path: Path, asked: GpuQuestions) -> str:
    """Return who asked, the test's own module first."""
    known = sorted(asked.places, key=lambda place: f"{path.name}:" not in place)
    return " and ".join(known[:_MAX_PLACES])
