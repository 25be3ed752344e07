"""Picks the cause that explains a synchronization. First match wins, the source text before the operator.

The text of the line is the same on every device; the operator is not (CUDA reports the innermost one, or none). So the
text decides wherever it can, and the operator only where it cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import assert_never

from syncwatch.attribute import names
from syncwatch.attribute.causes import copies, other_waits, reading, shapes
from syncwatch.attribute.causes.base import Cause
from syncwatch.attribute.forms import SourceCall, SourceForm, Subscript, form_of, is_tested
from syncwatch.attribute.stacks import WaitPlace
from syncwatch.model.events import Direction, Frame, SyncKind


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one synchronization."""

    kind: SyncKind
    explicit: bool
    op: str | None
    place: WaitPlace
    direction: Direction | None
    """Where the copies of the same call went; None where none was recorded or they went both ways."""
    small: bool
    """Whether copies were recorded and each is one element."""
    foreign: bool
    """Whether no hook inside torch saw it."""
    api: str | None
    """The runtime call, where a sensor named it."""
    hooked: bool = True
    """Whether hooks inside torch were there to announce a wait; a trace of another program has none."""

    @property
    def operator(self) -> str | None:
        """Return the operator's bare name: `index` of `aten.index.Tensor`, `aten::index` and `Tensor.index`."""
        if not self.op:
            return None
        parts = self.op.replace("::", ".").split(".")
        return parts[1] if len(parts) > 1 else parts[0]


def classify(evidence: Evidence) -> Cause:
    """Return the cause of one synchronization."""
    return (
        _allocator_call(evidence)
        or _copy_that_blocks(evidence)
        or _explicit_wait(evidence)
        or _by_frames(evidence)
        or _by_source(evidence)
        or _by_operator(evidence)
        or _by_copy(evidence)
        or _by_kind(evidence)
    )


def _allocator_call(evidence: Evidence) -> Cause | None:
    if evidence.kind is not SyncKind.ALLOCATION:
        return None
    return other_waits.PINNED_MEMORY if evidence.api and "Host" in evidence.api else other_waits.DEVICE_MEMORY


def _copy_that_blocks(evidence: Evidence) -> Cause | None:
    """Judge a copy that held the host without a call that waits: `cudaMemcpy` does by its contract, and is no cause."""
    if evidence.kind is not SyncKind.COPY:
        return None
    return copies.NON_BLOCKING_THAT_BLOCKS if evidence.api is None or "Async" in evidence.api else None


def _explicit_wait(evidence: Evidence) -> Cause | None:
    if evidence.kind in (SyncKind.COPY, SyncKind.ALLOCATION):
        return None
    functions = [frame.function.rpartition(".")[2] for frame in evidence.place.below]
    user = _user_form(evidence)
    asked = evidence.explicit or "synchronize" in functions or any(c.name == "synchronize" for c in user.calls)
    if not asked:
        return None
    if evidence.kind is SyncKind.DEVICE:
        return other_waits.DEVICE
    if evidence.kind is SyncKind.STREAM:
        return other_waits.STREAM
    if evidence.kind is SyncKind.EVENT:
        return other_waits.EVENT
    assert_never(evidence.kind)


def _by_frames(evidence: Evidence) -> Cause | None:
    for frame in evidence.place.below:
        if frame.file == "torch/_tensor_str.py" or frame.function.endswith(("Tensor.__format__", "Tensor.__repr__")):
            return reading.PRINTING
        if frame.file.startswith("torch/distributions/"):
            return shapes.SAMPLING
    return None


def _by_source(evidence: Evidence) -> Cause | None:
    """Judge the user's own expression first, then the innermost one of torch that it led to."""
    user, waiter = evidence.place.user, evidence.place.waiter
    frames = [frame for frame in (user, waiter) if frame is not None]
    for frame in dict.fromkeys(frames):
        if frame.branches and _reads_scalar(evidence):
            return reading.TRUTH_VALUE
        form = form_of(frame.expression, frame.code)
        if not form.exact and (cause := _decisive_operator(evidence, form)):
            return cause
        if cause := _by_form(evidence, form, frame):
            return cause
    return None


def _reads_scalar(evidence: Evidence) -> bool:
    return evidence.operator is None or evidence.operator in names.SCALAR_OPS


def _by_form(evidence: Evidence, form: SourceForm, frame: Frame) -> Cause | None:
    if cause := _by_calls(evidence, form.calls):
        return cause
    for subscript in form.subscripts:
        if cause := _by_subscript(evidence, subscript):
            return cause
    if _reads_scalar(evidence) and (form.truth or (form.exact and _tests_result(evidence, form, frame))):
        return reading.TRUTH_VALUE
    if form.formats or any(call.name in names.PRINTING for call in form.calls):
        return reading.PRINTING
    return None


def _by_calls(evidence: Evidence, calls: tuple[SourceCall, ...]) -> Cause | None:
    """Return the likeliest call of a line: the one whose copy goes the way that was seen, then a method."""
    causes = [(call, cause) for call in calls if (cause := _by_call(evidence, call)) is not None]
    family = {Direction.D2H: "SW1", Direction.H2D: "SW3"}.get(evidence.direction or Direction.D2H, "SW1")
    causes.sort(key=lambda pair: (pair[0].builtin, not pair[1].code.startswith(family)))
    return causes[0][1] if causes else None


def _tests_result(evidence: Evidence, form: SourceForm, frame: Frame) -> bool:
    """Return whether a call's result was tested: from Python 3.12 `if t.any():` is recorded as `t.any()`.

    A scalar that was read at a call whose result is tested was read by the test, unless the call is a known reader.
    Where no operator is known, only the operators that give a truth value are believed.
    """
    if frame != evidence.place.waiter or not form.calls or not is_tested(frame.expression, frame.code):
        return False
    return evidence.operator is not None or any(call.name in names.PREDICATES for call in form.calls)


def _by_call(evidence: Evidence, call: SourceCall) -> Cause | None:
    if call.builtin and call.name in names.SCALAR_BUILTINS:
        return reading.SCALAR_READ
    if call.builtin and call.name in names.TRUTH_BUILTINS:
        return reading.TRUTH_VALUE
    if ".linalg." in f".{call.path}":
        return other_waits.LINEAR_ALGEBRA
    if call.name == "where":
        return shapes.NONZERO if call.arguments == 1 and "=" not in call.text else None
    if call.name in names.HOST_DATA:
        reads = evidence.direction is Direction.D2H or evidence.operator in names.SCALAR_OPS
        return reading.SCALAR_READ if reads else copies.HOST_DATA
    if call.name in names.MOVES and not (call.builtin and call.name in ("copy", "type")):
        return _by_move(evidence, call.text)
    if call.name in ("cpu", "numpy") and "non_blocking=True" in call.text:
        return copies.NON_BLOCKING_THAT_BLOCKS
    return names.CAUSE_BY_NAME.get(call.name)


def _by_move(evidence: Evidence, arguments: str) -> Cause:
    if "non_blocking=True" in arguments:
        return copies.NON_BLOCKING_THAT_BLOCKS
    if evidence.direction is Direction.D2H:
        return reading.BLOCKING_READ
    if evidence.direction is None and ("'cpu'" in arguments or '"cpu"' in arguments):
        return reading.BLOCKING_READ
    return copies.PAGEABLE_UPLOAD


def _by_subscript(evidence: Evidence, subscript: Subscript) -> Cause | None:
    if evidence.operator in names.SCALAR_OPS:
        return copies.SCALAR_BOUND
    if subscript.view:
        return _by_view(evidence, subscript)
    uploads = evidence.operator in ("_to_copy", "copy_") and evidence.direction is not Direction.D2H
    if subscript.from_list or uploads or evidence.direction is Direction.H2D:
        return copies.HOST_INDEX
    return shapes.MASK_STORE if subscript.store else shapes.MASK_LOAD


def _by_view(evidence: Evidence, subscript: Subscript) -> Cause | None:
    """Judge `x[:n]`: the bound was read, or the slice was only the target of a copy."""
    copied = evidence.operator in names.MOVES or (evidence.direction is not None and not evidence.small)
    if subscript.store and copied:
        return reading.BLOCKING_READ if evidence.direction is Direction.D2H else copies.PAGEABLE_UPLOAD
    return copies.SCALAR_BOUND if subscript.from_bound else None


def _decisive_operator(evidence: Evidence, form: SourceForm) -> Cause | None:
    """Let the operator choose among everything on a line, where Python did not record which call of it ran."""
    operator = evidence.operator
    if operator is None or operator in names.SCALAR_OPS or operator in names.MOVES:
        return None
    if operator == "nonzero":
        named = [cause for call in form.calls if (cause := _by_call(evidence, call)) and cause.code.startswith("SW2")]
        return named[0] if named else _first(evidence, form.subscripts)
    if operator in ("index", "_unsafe_index"):
        return _first(evidence, [subscript for subscript in form.subscripts if not subscript.store] or form.subscripts)
    if operator in names.INDEX_STORES:
        return _first(evidence, [subscript for subscript in form.subscripts if subscript.store])
    return names.CAUSE_BY_NAME.get(operator)


def _first(evidence: Evidence, subscripts: Sequence[Subscript]) -> Cause | None:
    return _by_subscript(evidence, subscripts[0]) if subscripts else None


def _by_operator(evidence: Evidence) -> Cause | None:
    operator = evidence.operator
    if operator is None:
        return None
    if operator in ("index", "_unsafe_index"):
        return copies.HOST_INDEX if evidence.direction is Direction.H2D else shapes.MASK_LOAD
    if operator in names.INDEX_STORES and evidence.direction is Direction.H2D:
        return copies.HOST_INDEX
    if operator.startswith(("linalg_", "_linalg_")):
        return other_waits.LINEAR_ALGEBRA
    return _by_call(evidence, SourceCall(operator, f"aten.{operator}", None, ""))


def _by_copy(evidence: Evidence) -> Cause | None:
    if evidence.direction is Direction.D2H:
        return reading.SCALAR_READ if evidence.small else reading.BLOCKING_READ
    if evidence.direction is Direction.H2D:
        return copies.PAGEABLE_UPLOAD
    return None


def _by_kind(evidence: Evidence) -> Cause:
    foreign = evidence.foreign or (evidence.hooked and evidence.kind in (SyncKind.DEVICE, SyncKind.EVENT))
    return other_waits.UNDER_TORCH if foreign else other_waits.UNCLASSIFIED


def _user_form(evidence: Evidence) -> SourceForm:
    user = evidence.place.user
    return form_of(user.expression, user.code) if user else SourceForm(exact=False)
