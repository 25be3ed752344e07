"""Redirects names imported before the virtual device is on, as `from torch.cuda import Event`, to their replacements.

Replacing an attribute of `torch.cuda` leaves such a name with what torch itself put there. So, until all is put back,
the original function has the code of a call to its replacement, and the original class makes the replacement's objects.
"""

from __future__ import annotations

from types import CodeType, FunctionType
from typing import Any

from syncwatch.sense.patching import Patches

_MARK = "the replacement"


def _calls_replacement(*args: Any, **kwargs: Any) -> Any:
    replacement: Any = "the replacement"
    return replacement(*args, **kwargs)


def replace(patches: Patches, owner: Any, name: str, value: Any) -> None:
    """Replace `owner.name` where this torch has it, also for those who imported it before."""
    original = getattr(owner, name, None)
    if original is not None and original is not value:
        redirect(patches, original, value)
        patches.set(owner, name, value)


def redirect(patches: Patches, original: Any, replacement: Any) -> None:
    """Let `original`, by whatever name it is known, do what `replacement` does; what is not Python is left as it is."""
    if isinstance(original, FunctionType):
        patches.set(original, "__code__", _call_of(replacement, original.__code__))
    elif isinstance(original, type) and isinstance(replacement, type):
        _redirect_methods(patches, original, replacement)
        if "__new__" in vars(original):
            # Only where there is one: a class never loses the mark of having had one, and refuses arguments ever after.
            patches.set(original, "__new__", staticmethod(_maker(original, replacement)))
            # As of a class whose `__new__` has done everything.
            patches.set(original, "__init__", lambda self, *args, **kwargs: None)


def plain(function: Any) -> Any:
    """Return a copy of `function` that stays as it is when the function itself is redirected."""
    if not isinstance(function, FunctionType):
        return function
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def _call_of(replacement: Any, before: CodeType) -> CodeType:
    code = _calls_replacement.__code__
    constants = tuple(replacement if each == _MARK else each for each in code.co_consts)
    # A function's code must have as many variables from outside as the one that it takes the place of.
    return code.replace(co_consts=constants, co_freevars=before.co_freevars, co_name=before.co_name)


def _redirect_methods(patches: Patches, original: type, replacement: type) -> None:
    made_elsewhere = "__new__" in vars(original)
    for name, method in list(vars(original).items()):
        if not isinstance(method, FunctionType) or name in ("__new__", "__del__"):
            continue
        known = getattr(replacement, name, None)
        if isinstance(known, FunctionType) and not (made_elsewhere and name == "__init__"):
            patches.set(method, "__code__", _call_of(known, method.__code__))


def _maker(original: type, replacement: type) -> Any:
    """Return the `__new__` of `original`: an object of the replacement, or of a class of the user's on top of it."""
    derived: dict[type, type] = {}

    def make(cls: type, *args: Any, **kwargs: Any) -> Any:
        if cls is original:
            return replacement(*args, **kwargs)
        if cls not in derived:
            derived[cls] = _on_top(cls, original, replacement)
        kind: Any = derived[cls]
        made = kind.__new__(kind)
        below: Any = replacement
        below.__init__(made, *args, **kwargs)
        # Python itself does so for objects of `cls` alone.
        kind.__init__(made, *args, **kwargs)
        return made

    return make


def _on_top(cls: type, original: type, replacement: type) -> type:
    """Return `cls`, a class of the user's below `original`, as one below `replacement`."""
    members: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, original) and base is not original:
            members.update(vars(base))
    for name in ("__dict__", "__weakref__", "__new__"):
        members.pop(name, None)
    members["__class__"] = property(lambda self: cls)
    return type(cls.__name__, (replacement,), members)
