"""Runs `torch.cuda.jiterator` without a compiler for the GPU: its arithmetic is done on tensors.

The C++ of an element-wise kernel is mostly sums and products, which read the same in Python. Anything else is refused.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.cuda import jiterator

from syncwatch.compat import torch_cuda as names
from syncwatch.errors import NotMeasuredError
from syncwatch.sense.patching import Patches

_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_FUNCTION = re.compile(r"\((?P<parameters>[^()]*)\)\s*\{(?P<body>[^{}]*)\}\s*$")


def patch(patches: Patches) -> None:
    """Put the launch of a kernel in the place of torch's, which the CPU build does not have.

    A function notes when it is made whether there is a GPU, and would refuse to run on one that came later.
    """
    patches.set_or_add(names.JITERATOR, launch)
    patches.set(jiterator._JittedFunction, "is_cuda_available", _Always())


class _Always:
    """A property that is true whatever an object has under its name."""

    def __get__(self, function: object, kind: type | None = None) -> bool:
        return True

    def __set__(self, function: Any, value: bool) -> None:
        vars(function)["is_cuda_available"] = value


def launch(
    code: str, name: str, by_reference: bool, outputs: int, tensors: Sequence[torch.Tensor], named: Mapping[str, Any]
) -> Any:
    """Run the last function of `code` on `tensors`.

    Raises:
        NotMeasuredError: if it does more than arithmetic.
    """
    found = _FUNCTION.search(code.strip())
    if found is None:
        raise _refusal(name)
    parameters = [each.split()[-1].lstrip("&") for each in found["parameters"].split(",")]
    # C++ computes with truth values as with numbers.
    numbers = [tensor.int() if tensor.dtype is torch.bool else tensor for tensor in tensors]
    values: dict[str, Any] = {**dict(zip(parameters, numbers, strict=False)), **named}
    common = tensors[0].dtype
    for tensor in tensors[1:]:
        common = torch.promote_types(common, tensor.dtype)
    for statement in filter(None, (each.strip() for each in found["body"].split(";"))):
        target, _, expression = statement.partition("=")
        if statement.startswith("return "):
            return _result(statement.removeprefix("return "), values, name, common)
        values[target.strip()] = _result(expression, values, name, common)
    results = tuple(values[each] for each in parameters[-outputs:])
    return results if outputs > 1 else results[0]


def _result(expression: str, values: Mapping[str, Any], name: str, common: torch.dtype) -> torch.Tensor:
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except SyntaxError as error:
        raise _refusal(name) from error
    result: torch.Tensor = _evaluate(tree.body, values, name)
    return result.to(common)


def _evaluate(node: ast.expr, values: Mapping[str, Any], name: str) -> Any:
    if isinstance(node, ast.Name) and node.id in values:
        return values[node.id]
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        sides = _evaluate(node.left, values, name), _evaluate(node.right, values, name)
        return _OPERATORS[type(node.op)](*sides)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_evaluate(node.operand, values, name))
    raise _refusal(name)


def _refusal(name: str) -> NotMeasuredError:
    return NotMeasuredError(
        f"The jiterator kernel {name} does more than arithmetic, so it can only run on a GPU. Use --device cuda, or "
        "write it with torch operators."
    )
