"""Malformed sessions, baselines and configurations end in a sentence and exit 2 or 3: no traceback, and no pass.

What is changed is real: a session that fails the gate, a baseline that is checked in, a policy with every key. Each
input is judged as `syncwatch gate run.json` would judge it, in this process; ten thousand of them in all.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncwatch.app.project.config import read_settings
from syncwatch.cli import gate as command
from syncwatch.errors import SyncwatchError, UsageError
from syncwatch.judge.baseline_file import read_baseline, update_baseline
from syncwatch.model.codec import encode
from syncwatch.model.session import Session
from syncwatch.model.verdict import KnownSite, SiteKey
from tests.helpers.fakes import recording, session, steps, sync
from tests.helpers.judging import WHOLE_CONFIG

SESSION = json.loads(
    encode(session(recording(syncs=[sync(0, at=(5, 9)), sync(1, at=(15, 19))], steps=steps(2)), target="train.py"))
)
ENTRY = KnownSite("train.py", "naive", SiteKey("app/train.py", "step", "SW101", "x.item()"), 1, 1.0)
CONFIG_LINES = WHOLE_CONFIG.split("\n")

_many = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\x1b[31m", "]]>", "\ud800", "a" * 10_000, 2**63, -1, 10**400])
)
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=4,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass(frozen=True, slots=True)
class Ended:
    """How the command ended, and what it wrote or refused with."""

    code: int
    out: str
    refusal: str | None


def gate() -> Ended:
    """Judge run.json as `syncwatch gate` does; what is no refusal of ours passes through, and fails the test."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        try:
            command.gate("run.json")
        except SyncwatchError as error:
            return Ended(error.exit_code, out.getvalue(), str(error))
        except typer.Exit as end:
            return Ended(end.exit_code, out.getvalue(), None)
    raise AssertionError("the command did not end")


def paths(value: Any, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the way to every value inside `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*here, key)
        yield from paths(inner, (*here, key))


def changed(document: Any, way: tuple[str | int, ...], change: Callable[[Any, Any], None]) -> Any:
    copied = json.loads(json.dumps(document))
    parent = copied
    for key in way[:-1]:
        parent = parent[key]
    change(parent, way[-1])
    return copied


def drop(parent: Any, key: Any) -> None:
    del parent[key]


WAYS = list(paths(SESSION))
KEYS = (
    *("implicit", "explicit", "strict", "baseline", "require", "causes", "paths", "ranges", "budgets", "allow"),
    *("syncs", "d2h_bytes", "code", "reason", "path", "function", "until", "SW101", "SW3", "app/**"),
)
TABLES = ("[causes]", "[paths]", "[ranges]", "[budgets]", "[[allow]]", "[nothing]")
LINE = {
    **{"path": "app/train.py", "function": "step", "code": "SW101", "source": "x.item()"},
    **{"target": "train.py", "variant": "naive", "sites": 1, "calls_per_step": 1.0},
}


@settings(_many, max_examples=3500)
@given(way=st.sampled_from(WAYS), value=_values)
def test_a_session_with_another_value_is_judged_or_refused(
    folder: Path, way: tuple[str | int, ...], value: Any
) -> None:
    def put(parent: Any, key: Any) -> None:
        parent[key] = value

    (folder / "run.json").write_text(json.dumps(changed(SESSION, way, put)))
    ended = gate()
    if ended.refusal is not None:
        assert (ended.code, ended.out) == (2, "")
        assert_sentence(ended.refusal)
    elif ended.code == 0:
        # A pass is right only where the file itself has no implicit wait in a measured step.
        known = Session.load(folder / "run.json")
        measured = {step.index for step in known.recordings[-1].steps if not step.warmup}
        assert known.complete and measured
        assert not [
            each for each in known.recordings[-1].syncs if not (each.explicit or each.pacing) and each.step in measured
        ]
    else:
        assert ended.code in (1, 3)


@settings(_many, max_examples=500)
@given(way=st.sampled_from(WAYS))
def test_a_session_that_lacks_something_is_judged_or_refused(folder: Path, way: tuple[str | int, ...]) -> None:
    (folder / "run.json").write_text(json.dumps(changed(SESSION, way, drop)))
    ended = gate()
    assert ended.code in (1, 2, 3) or way[2:3] in (("syncs",), ("steps",))
    assert ended.refusal is None or ended.code == 2


@settings(_many, max_examples=1500)
@given(text=st.binary(max_size=200) | _values.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_session_is_refused(folder: Path, text: bytes) -> None:
    (folder / "run.json").write_bytes(text)
    ended = gate()
    # An empty list is a trace of torch.profiler in which nothing was measured.
    assert ended.code in (2, 3) and ended.out == ""
    assert_sentence(ended.refusal)


@settings(_many, max_examples=1000)
@given(text=st.binary(max_size=100), at=st.integers(0, 300), length=st.integers(0, 30))
def test_a_damaged_baseline_is_refused_or_knows_no_more_than_it_says(
    folder: Path, text: bytes, at: int, length: int
) -> None:
    path = folder / ".syncwatch-baseline.jsonl"
    path.unlink(missing_ok=True)
    update_baseline(path, "train.py", ["naive"], [ENTRY])
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + text + whole[at + length :])
    (folder / "run.json").write_text(json.dumps(SESSION))
    ended = gate()
    if ended.refusal is not None:
        assert ended.code == 2
        assert_sentence(ended.refusal)
    else:
        # A number that lost a digit knows fewer calls.
        knows = [
            (each.target, each.variant, each.key)
            for each in read_baseline(path)
            if each.sites >= ENTRY.sites and each.calls_per_step >= ENTRY.calls_per_step
        ]
        assert ended.code == (0 if (ENTRY.target, ENTRY.variant, ENTRY.key) in knows else 1)


@settings(_many, max_examples=1000)
@given(way=st.sampled_from(list(LINE)), value=_values)
def test_a_baseline_entry_of_another_shape_is_refused_or_knows_no_more(folder: Path, way: str, value: Any) -> None:
    path = folder / ".syncwatch-baseline.jsonl"
    path.write_text(f'{{"schema":"syncwatch.baseline/1"}}\n{json.dumps({**LINE, way: value})}\n')
    (folder / "run.json").write_text(json.dumps(SESSION))
    ended = gate()
    if ended.refusal is not None:
        assert ended.code == 2
        assert_sentence(ended.refusal)
    elif ended.code == 0:
        assert [(each.target, each.variant, each.key) for each in read_baseline(path)] == [
            (ENTRY.target, ENTRY.variant, ENTRY.key)
        ]


@settings(_many, max_examples=1500)
@given(
    lines=st.lists(st.sampled_from(CONFIG_LINES), max_size=8),
    extra=st.text(max_size=30),
    at=st.integers(0, 8),
)
def test_a_policy_of_shuffled_lines_is_read_or_refused(folder: Path, lines: list[str], extra: str, at: int) -> None:
    assert_read_or_refused(folder, "\n".join([*lines[:at], extra, *lines[at:]]))


@settings(_many, max_examples=1500)
@given(key=st.sampled_from(KEYS) | st.text(max_size=8), value=_values, table=st.sampled_from(["", *TABLES]))
def test_a_policy_with_another_key_or_value_is_read_or_refused(folder: Path, key: str, value: Any, table: str) -> None:
    assert_read_or_refused(folder, f"{table}\n{toml(key)} = {toml(value)}\n")


def assert_read_or_refused(folder: Path, text: str) -> None:
    (folder / "syncwatch.toml").write_bytes(text.encode(errors="surrogatepass"))
    try:
        read_settings(folder)
    except UsageError as error:
        assert_sentence(str(error))


def assert_sentence(refusal: str | None) -> None:
    assert refusal is not None and refusal.rstrip().endswith((".", "?", "]")), refusal


def toml(value: Any) -> str:
    """Return `value` as TOML, as far as there is such a thing."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)
