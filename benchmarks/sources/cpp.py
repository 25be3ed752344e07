"""Finds where C++ and CUDA sources wait, copy to the host or allocate, by reading them, without a compiler.

Functions are found by their braces, calls by the names before a parenthesis. What is in comments, in strings and
under `#if 0` does not count. A macro with a body counts as a function of its name.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sources.patterns import PATTERNS

_CONTROL = {"if", "for", "while", "switch", "catch", "return", "else", "do", "sizeof", "defined"}
_DECORATION = re.compile(
    r"\b(?:__launch_bounds__|C10_LAUNCH_BOUNDS_\d|__attribute__|C10_DEPRECATED_MESSAGE|alignas|decltype|noexcept|declspec)"
    r"\s*\((?:[^()]|\([^()]*\))*\)"
)
_MACRO_BEFORE = re.compile(r"^\s*(?:[A-Z][A-Z0-9_]{3,}\s*\((?:[^()]|\([^()]*\))*\)\s*;?\s*)+(?=\S)")
_NAMED_BY_MACRO = re.compile(r"\b(?:TORCH_IMPL_FUNC|TORCH_META_FUNC|TORCH_PRECOMPUTE_META_FUNC)\s*\(\s*(\w+)")
_LIBRARY = re.compile(r"\bTORCH_LIBRARY\w*\s*\(\s*([\w, ]+)")
_CALLED = re.compile(r"([A-Za-z_]\w*)\s*(?:<[^(){};]*>\s*)?\(")
_CALL_OR_POINTER = re.compile(
    r"([A-Za-z_]\w*)\s*(?:<[^;{}()]{0,80}>\s*)?[({]|&\s*(?:\w+::)*([A-Za-z_]\w*)|TORCH_FN\(\s*(?:\w+::)*(\w+)"
    r"|\b([A-Za-z_]\w*)\s*<[^;{}()]{0,80}>\s+\w+\s*[;(]"
)
_OPEN = re.compile(r"\bnamespace\b|\bextern\b|\b(?:class|struct|union|enum)\b")


@dataclass(frozen=True, slots=True)
class Function:
    """A function, a macro, or the block of a registration."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Place:
    """A line of source that waits, copies or allocates."""

    file: str
    line: int
    function: str
    pattern: str
    text: str
    condition: str | None
    """The nearest `if` around it."""

    @property
    def key(self) -> str:
        """The name of the place in the file of reasons: without the line number, which changes with every version."""
        return f"{self.file}:{self.function}:{self.pattern}"


@dataclass(frozen=True, slots=True)
class Source:
    """What was found in one file."""

    file: str
    places: tuple[Place, ...]
    calls: dict[str, frozenset[str]]
    """From each function to the names that it calls or takes the address of."""
    stubs: tuple[tuple[str, str], ...]
    """Stub and kernel of each `REGISTER_CUDA_DISPATCH`."""
    registered: tuple[tuple[str, str, str], ...]
    """Operator, function and dispatch key of each `m.impl`."""


def read_source(path: Path, root: Path) -> Source:
    """Read one file."""
    raw = path.read_text(errors="replace")
    code = _without_comments(raw)
    file = str(path.relative_to(root))
    functions = [*_functions(code), *_macros(code)]
    functions.sort(key=lambda each: (each.start, -each.end))
    calls: dict[str, set[str]] = {}
    for each in functions:
        names = calls.setdefault(each.name, set())
        for match in _CALL_OR_POINTER.finditer(code, each.start, each.end):
            names.add(match[1] or match[2] or match[3] or match[4])
    return Source(
        file,
        tuple(_places(code, raw, file, functions)),
        {name: frozenset(names - {name}) for name, names in calls.items()},
        tuple(re.findall(r"REGISTER_(?:CUDA_)?DISPATCH\s*\(\s*(\w+)\s*,\s*&?\s*(?:\w+::)*(\w+)", code)),
        tuple(_registered(raw)),
    )


def _registered(raw: str) -> Iterator[tuple[str, str, str]]:
    for library in _LIBRARY.finditer(raw):
        end = raw.find("\n}", library.end())
        namespace, key = (*(part.strip() for part in library[1].split(",")), "")[:2]
        for name, function in re.findall(
            r'impl\w*\(\s*(?:TORCH_SELECTIVE_NAME\()?\s*"([\w:.]+)"\)?,\s*([^;]*?)\)\s*;', raw[library.end() : end]
        ):
            target = re.findall(r"([A-Za-z_]\w*)\s*(?:<[^<>]*>)?\s*\)*\s*$", function)
            if target:
                yield (name if "::" in name else f"{namespace}::{name}"), target[0], key


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _without_comments(raw: str) -> str:
    """Blank out comments and strings; all else keeps its position."""
    code = re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', _blank, raw, flags=re.S)
    code = re.sub(r"^[ \t]*#[ \t]*if 0\b.*?^[ \t]*#[ \t]*endif", _blank, code, flags=re.S | re.M)
    return re.sub(r"^[ \t]*#[ \t]*(?:include|pragma|error)[^\n]*", _blank, code, flags=re.M)


def _macros(code: str) -> Iterator[Function]:
    for match in re.finditer(r"^[ \t]*#[ \t]*define[ \t]+(\w+)(?:[^\n]*\\\n)+[^\n]*", code, flags=re.M):
        yield Function(match[1], match.start(), match.end())


def _functions(code: str) -> Iterator[Function]:
    """Yield every function with a body that is inside no other function."""
    plain = re.sub(
        r"^[ \t]*#[^\n]*(?:\\\n[^\n]*)*",
        _blank,
        _first_branches(code),
        flags=re.M,
    )
    open_scopes: list[tuple[bool, str, int]] = []
    types: list[str] = []
    inside = last = 0
    for match in re.finditer(r"[{};]", plain):
        position, sign = match.start(), match[0]
        if sign == "{":
            head = plain[last:position]
            name = None if inside else _name(head)
            if name == "operator" and types and types[-1]:
                name = types[-1]
            types.append("" if inside else _type(head))
            starts = last + len(head) - len(head.lstrip())
            open_scopes.append((name is not None, name or "", starts))
            inside += name is not None
        elif sign == "}" and open_scopes:
            function, name, start = open_scopes.pop()
            types.pop()
            inside -= function
            if function and name:
                yield Function(name, start, position)
        if not inside or sign != ";":
            last = position + 1


def _type(head: str) -> str:
    """Return the class that a brace after `head` opens, as its call operator counts as a function of that name."""
    head = re.sub(r"\btemplate\s*<(?:[^<>]|<(?:[^<>]|<[^<>]*>)*>)*>", " ", head)
    found = re.search(r"\b(?:class|struct)\s+(?:alignas\([^)]*\)\s*)?(\w+)[^()]*$", head)
    return found[1] if found else ""


def _first_branches(code: str) -> str:
    """Blank out `#else` branches where the `#if` branch leaves a brace open, as together they would open it twice."""
    lines = code.split("\n")
    groups: list[list[int]] = []
    for number, line in enumerate(lines):
        word = line.lstrip().removeprefix("#").lstrip() if line.lstrip().startswith("#") else ""
        if word.startswith("if"):
            groups.append([number])
        elif word.startswith(("else", "elif")) and groups:
            groups[-1].append(number)
        elif word.startswith("endif") and groups:
            first, *others = [*groups.pop(), number]
            if others[:-1] and _depth(lines[first : others[0]]):
                for kept in range(others[0] + 1, number):
                    lines[kept] = " " * len(lines[kept])
    return "\n".join(lines)


def _depth(lines: list[str]) -> int:
    return sum(line.count("{") - line.count("}") for line in lines)


def _name(head: str) -> str | None:
    """Return the name of the function that a brace after `head` opens, or None where it opens something else."""
    library = _LIBRARY.search(head)
    if library:
        return f"TORCH_LIBRARY({library[1].strip()})"
    named = _NAMED_BY_MACRO.search(head)
    if named:
        return named[1]
    head = _DECORATION.sub(" ", head)
    while True:
        shorter = re.sub(r"\btemplate\s*<(?:[^<>]|<(?:[^<>]|<[^<>]*>)*>)*>", " ", head)
        if shorter == head:
            break
        head = shorter
    head = _MACRO_BEFORE.sub("", head) or head
    before = head.split("(", 1)[0]
    if "(" not in head or re.search(r"\bnamespace\b|=\s*$", before) or head.rstrip().endswith(("=", ",")):
        return None
    if _OPEN.search(before) and not _CALLED.search(head):
        return None
    operator = re.search(r"\boperator\s*\(\s*\)|\boperator\s*[^\s\w(]+", head)
    if operator:
        return "operator"
    match = _CALLED.search(head)
    return None if match is None or match[1] in _CONTROL else match[1]


def _places(code: str, raw: str, file: str, functions: list[Function]) -> Iterator[Place]:
    lines = [0, *(match.end() for match in re.finditer("\n", raw))]
    seen = set()
    for pattern, expression in PATTERNS.items():
        for match in expression.finditer(code):
            line = bisect_right(lines, match.start())
            function = next((each for each in functions if each.start <= match.start() < each.end), None)
            if function is None or (line, pattern) in seen or _is_definition(code, match, function):
                continue
            seen.add((line, pattern))
            text = raw[lines[line - 1] : raw.find("\n", match.start())].strip()
            yield Place(file, line, function.name, pattern, text[:160], _condition(code, function, match.start()))


def _is_definition(code: str, match: re.Match[str], function: Function) -> bool:
    return "{" not in code[function.start : match.start()] and not code[
        function.start : function.start + 40
    ].lstrip().startswith("#")


def _condition(code: str, function: Function, position: int) -> str | None:
    """Return the condition of the nearest `if` around a position, or of the statement at that position."""
    depth = 0
    for match in reversed(list(re.finditer(r"[{}]", code[function.start : position]))):
        depth += 1 if match[0] == "}" else -1
        if depth == -1:
            depth = 0
            head = re.split(r"[;{}]", code[function.start : function.start + match.start()])[-1].strip()
            found = re.match(r"(?:else\s+)?if\s*(?:constexpr\s*)?\((.*)\)$", head, flags=re.S)
            if found:
                return " ".join(found[1].split())[:160]
            if head == "else":
                return "otherwise"
    own = re.split(r"[;{}]", code[function.start : position])[-1].strip()
    found = re.match(r"(?:else\s+)?if\s*\((.*?)\)\s", own + " ", flags=re.S)
    return " ".join(found[1].split())[:160] if found else None
