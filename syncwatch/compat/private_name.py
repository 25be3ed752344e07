"""What is known of one undocumented name, and how it is looked up."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from enum import Enum
from typing import Any

from typing_extensions import assert_never

from syncwatch.errors import NotMeasuredError


class Builds(Enum):
    """Which builds of the package have the name."""

    ALL = "all"
    FOR_CUDA = "for CUDA"
    SOME_VERSIONS = "some versions"


@dataclass(frozen=True, slots=True)
class PrivateName:
    """A name that its package does not document and may take away."""

    path: str
    """Module and attributes, as `torch.cuda._lazy_call`."""
    tried: str
    """The versions of the package that it was tried with."""
    without: str
    """What is lost where it is gone; a sentence."""
    builds: Builds = Builds.ALL

    @property
    def package(self) -> str:
        """The package that has it."""
        return self.path.partition(".")[0]

    @property
    def attribute(self) -> str:
        """Its last part."""
        return self.path.rpartition(".")[2]

    def owner(self) -> Any:
        """Return the module or class that has the name, or would have it.

        Raises:
            ImportError: if that is gone too.
        """
        path, *rest = self.path.split(".")[:-1]
        found = importlib.import_module(path)
        for name in rest:
            found = _part(found, path, name)
            path = f"{path}.{name}"
        return found

    def get(self) -> Any:
        """Return what it names.

        Raises:
            NotMeasuredError: if the installed package does not have it.
        """
        try:
            return getattr(self.owner(), self.attribute)
        except (AttributeError, ImportError) as error:
            raise NotMeasuredError(f"{self.gone()} It was tried with {self.package} {self.tried}.") from error

    def get_or(self, other: Any) -> Any:
        """Return what it names, or `other` where it is gone."""
        return getattr(self.owner(), self.attribute, other) if self.is_there() else other

    def is_there(self) -> bool:
        """Return whether the installed package has it."""
        try:
            return hasattr(self.owner(), self.attribute)
        except ImportError:
            return False

    def is_due(self, *, built_for_cuda: bool) -> bool:
        """Return whether the installed package should have it."""
        match self.builds:
            case Builds.ALL:
                return True
            case Builds.FOR_CUDA:
                return built_for_cuda
            case Builds.SOME_VERSIONS:
                return False
            case _:
                assert_never(self.builds)

    def gone(self) -> str:
        """Return the sentence for a package without it."""
        return f"{self.path} is not there: {self.without}"


def _part(owner: Any, path: str, name: str) -> Any:
    """Return the part `name` of `owner`: an attribute, or a module below it that nobody has imported yet."""
    found = getattr(owner, name, None)
    return importlib.import_module(f"{path}.{name}") if found is None else found
