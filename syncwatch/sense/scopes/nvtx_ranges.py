"""Hears the ranges that a program names through the package nvtx: every way to make one, of every version.

Until 0.2.11 all of them go through four functions of its _library. Newer ones make nothing of a range while no tool is
attached: their domains are then a `DummyDomain`, and a decorated function is the function itself.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import nvtx
import nvtx.nvtx as api

from syncwatch.compat.torch_cuda import NVTX_LIBRARY
from syncwatch.sense.patching import Patches
from syncwatch.sense.scopes import scope
from syncwatch.sense.scopes.ranges import IdentityKey, begin, end, is_own_call, suppressed

_library: Any = NVTX_LIBRARY.get()
_DUMMY: Any = getattr(_library, "dummy_domain", None)
_DUMMY_CLASS: Any = getattr(_library, "DummyDomain", None)
_CALLS = ("push_range", "pop_range", "start_range", "end_range")
_CODES = {getattr(api, name).__code__ for name in _CALLS}


def patch(patches: Patches) -> None:
    """Hear the ranges from now on, until `patches` are taken back."""
    if not nvtx.enabled():
        return
    _patch_library(patches)
    _patch_annotate(patches)
    if _DUMMY_CLASS is not None:
        _patch_domains(patches)


def _patch_library(patches: Patches) -> None:
    """Hear the functions that all others go through where a tool is attached, and always until 0.2.11."""
    push, pop, start, finish = (getattr(api, f"libnvtx_{name}") for name in _CALLS)

    def push_range(attributes: Any, handle: Any) -> Any:
        found = push(attributes, handle) if _is_real(attributes) else None
        if is_own_call():
            _begin(_name_of(attributes), handle, _decorated(sys._getframe(1)))
        return found

    def pop_range(handle: Any) -> Any:
        found = None if isinstance(handle, _Listening) else pop(handle)
        if is_own_call():
            frame = _decorated(sys._getframe(1))
            end(_pushed(handle) if frame is None else id(frame))
        return found

    def start_range(attributes: Any, handle: Any) -> Any:
        started = start(attributes, handle) if _is_real(attributes) else (next(_NUMBERS), handle)
        if is_own_call():
            begin(scope.OpenRange(_name_of(attributes), ("nvtx", _number(started)), scope.RangeEnd.BY_HANDLE))
        return started

    def end_range(*started: Any) -> Any:
        found = None if isinstance(started[-1], _Listening) else finish(*started)
        if is_own_call():
            end(("nvtx", _number(started[0] if len(started) == 1 else started)))
        return found

    for name, function in zip(_CALLS, (push_range, pop_range, start_range, end_range), strict=True):
        patches.set(api, f"libnvtx_{name}", function)


def _patch_annotate(patches: Patches) -> None:
    plain_enter, plain_exit, plain_call = api.annotate.__enter__, api.annotate.__exit__, api.annotate.__call__

    def enter(self: Any) -> Any:
        with suppressed():
            found = plain_enter(self)
        if is_own_call():
            begin(scope.OpenRange(_message_of(self), IdentityKey(self), scope.RangeEnd.WITH_ITS_BLOCK))
        return found

    def leave(self: Any, *exception: Any) -> Any:
        with suppressed():
            found = plain_exit(self, *exception)
        if is_own_call():
            end(IdentityKey(self))
        return found

    def decorate(self: Any, function: Callable[..., Any]) -> Any:
        found = plain_call(self, function)
        return found if found is not function else _named(self, function)

    patches.set(api.annotate, "__enter__", enter)
    patches.set(api.annotate, "__exit__", leave)
    patches.set(api.annotate, "__call__", decorate)


def _patch_domains(patches: Patches) -> None:
    """Hear the methods of domains, and the functions that turn back at a domain which stands for none."""
    plain_domain = api.get_domain

    def get_domain(name: Any = None) -> Any:
        domain = plain_domain(name)
        # Only for the functions: an `annotate` keeps its domain longer than anybody watches.
        return _Listening(name) if domain is _DUMMY and sys._getframe(1).f_code in _CODES else domain

    patches.set(api, "get_domain", get_domain)
    for owner in (_library.Domain, _DUMMY_CLASS):
        _patch_methods(patches, owner)


def _patch_methods(patches: Patches, owner: Any) -> None:
    push, pop, start, finish = (getattr(owner, name) for name in _CALLS)
    dummy = owner is _DUMMY_CLASS

    def push_range(self: Any, attributes: Any = None, **named: Any) -> Any:
        found = push(self, attributes, **named)
        if is_own_call():
            _begin(_name_of(attributes, named), self, None)
        return found

    def pop_range(self: Any) -> Any:
        found = pop(self)
        if is_own_call():
            end(_pushed(self))
        return found

    def start_range(self: Any, attributes: Any = None, **named: Any) -> Any:
        number = start(self, attributes, **named)
        number = next(_NUMBERS) if dummy else number
        if is_own_call():
            begin(scope.OpenRange(_name_of(attributes, named), ("nvtx", number), scope.RangeEnd.BY_HANDLE))
        return number

    def end_range(self: Any, number: Any) -> Any:
        found = finish(self, number)
        if is_own_call():
            end(("nvtx", number))
        return found

    for name, function in zip(_CALLS, (push_range, pop_range, start_range, end_range), strict=True):
        patches.set(owner, name, function)
    if dummy:
        patches.set(owner, "get_event_attributes", _attributes)


def _attributes(self: Any, message: Any = None, color: Any = None, category: Any = None, payload: Any = None) -> Any:
    """Return attributes that know their message; a domain that stands for none gives none."""
    if message is None or isinstance(message, str):
        message = _library.RegisteredString(_library.DomainHandle(None), message or "")
    try:
        return _library.EventAttributes(domain=self, message=message)
    except TypeError:
        # The domain is an argument from 0.2.14 on.
        return _library.EventAttributes(message=message)


def _named(annotation: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` in a range, since its decorator left it as it is."""
    name = _message_of(annotation) or function.__name__

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        key = object()
        begin(scope.OpenRange(name, key, scope.RangeEnd.WITH_ITS_BLOCK))
        try:
            return function(*args, **kwargs)
        finally:
            end(key)

    return called


class _Listening:
    """Stands for a domain that no tool listens to, and keeps what its ranges are called."""

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.handle = self

    def get_event_attributes(self, message: Any = None, *_: Any) -> Any:
        return _Unregistered(message)


class _Unregistered:
    """What a range is called."""

    def __init__(self, message: Any) -> None:
        self.message = message


_NUMBERS = itertools.count(1 << 62)
"""Of ranges that no tool was told of."""


def _is_real(attributes: Any) -> bool:
    return not isinstance(attributes, _Unregistered)


def _begin(name: str, domain: Any, frame: FrameType | None) -> None:
    if frame is None:
        begin(scope.OpenRange(name, _pushed(domain), scope.RangeEnd.BY_POP))
    else:
        # Until 0.2.11 the decorator does not pop when its function raises.
        begin(scope.OpenRange(name, id(frame), scope.RangeEnd.WITH_ITS_BLOCK, within=frame))


def _pushed(domain: Any) -> tuple[str, str]:
    """Return the key of what was pushed in `domain`, given by itself or by its handle: each has its own stack."""
    return "nvtx", str(getattr(domain, "name", None) or "")


def _decorated(caller: FrameType) -> FrameType | None:
    """Return `caller` if it is a function that `nvtx.annotate` decorated."""
    return caller if caller.f_code.co_name == "inner" and caller.f_globals is vars(api) else None


def _number(started: Any) -> Any:
    """Return by what a started range is known: a number and its domain from 0.2.12 on, an object before."""
    return started[0] if isinstance(started, tuple) else IdentityKey(started)


def _message_of(annotation: Any) -> str:
    """Return what an `nvtx.annotate` is called; a newer one without a tool keeps its arguments alone."""
    attributes = getattr(annotation, "attributes", None)
    if attributes is not None:
        return _name_of(attributes)
    return str((getattr(annotation, "init_args", None) or ("",))[0] or "")


def _name_of(attributes: Any, named: dict[str, Any] | None = None) -> str:
    message = (named or {}).get("message")
    if message is None:
        message = getattr(attributes, "message", None)
    return str(getattr(message, "string", message) or "")
