"""Answers: what does pytest call? Hooks, options and a fixture; what they need is imported when a test is watched."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from syncwatch.errors import SyncwatchError
from syncwatch.pytest_plugin.leaving import never_in_silence
from syncwatch.pytest_plugin.marks import HELP, Limit, limit_of
from syncwatch.pytest_plugin.results import ATTRIBUTE, Results

if TYPE_CHECKING:
    from syncwatch.pytest_plugin.watched import Watching
    from syncwatch.watching import watch

FIXTURE = "syncwatch"

_WATCHING = pytest.StashKey["Watching"]()
_LIMIT = pytest.StashKey[Limit | None]()
_FOUND = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("syncwatch", "waits of the CPU for the GPU (syncwatch)")
    group.addoption(
        "--syncwatch-device",
        choices=("auto", "cuda", "virtual"),
        default="auto",
        help="where marked tests run: auto takes the GPU if there is one, else the virtual device",
    )
    group.addoption(
        "--syncwatch-baseline", metavar="FILE", help="waits that are known and pass; .syncwatch-baseline.jsonl if there"
    )
    group.addoption(
        "--syncwatch-update-baseline", action="store_true", help="write what tests marked no_sync wait for now to it"
    )
    group.addoption(
        "--syncwatch-report",
        action="append",
        default=[],
        metavar="FORMAT=FILE",
        help="write what marked tests waited for: json, junit, sarif, github, markdown or terminal, as sarif=out.sarif",
    )


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Choose Triton's interpreter before any kernel is defined, where the virtual device was asked for by name."""
    if early_config.known_args_namespace.syncwatch_device == "virtual":
        os.environ["TRITON_INTERPRET"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known, and refuse a report that could not be written."""
    for line in HELP.values():
        config.addinivalue_line("markers", line)
    try:
        config.pluginmanager.register(Results(config.getoption("--syncwatch-report")), "syncwatch-results")
    except SyncwatchError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Put the device on before fixtures make tensors on it."""
    if not _is_watched(item):
        return
    try:
        item.stash[_LIMIT] = limit_of(item.iter_markers())
        _watching(item.config).device()
    except SyncwatchError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Watch a marked test, and fail it where it waits too much; a test that fails by itself is not judged."""
    limit = item.stash.get(_LIMIT, None)
    if limit is None:
        return (yield)
    from syncwatch.model.codec import encode
    from syncwatch.watching import watch

    watching = _watching(item.config)
    with never_in_silence(item), watch(watching.device().kind.value, prices=False) as watched:
        result = yield
    try:
        judged = watching.judge(watched.session, limit, item.nodeid)
    except SyncwatchError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    item.stash[_FOUND] = encode(judged).decode()
    if judged.verdict.reasons:
        pytest.fail(judged.text(limit, item.config.get_terminal_writer().fullwidth), pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Take the device off, unless the next test is watched too: they may share fixtures."""
    try:
        return (yield)
    finally:
        watching = item.config.stash.get(_WATCHING, None)
        if watching is not None and not (nextitem is not None and _is_watched(nextitem)):
            watching.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hand on what was found."""
    report = yield
    if call.when == "call" and _FOUND in item.stash:
        setattr(report, ATTRIBUTE, item.stash[_FOUND])
        del item.stash[_FOUND]
    return report


@pytest.fixture(name=FIXTURE)
def _watch(request: pytest.FixtureRequest) -> Generator[watch, None, None]:
    """Give a watch: `with syncwatch: step()`, then `syncwatch.report`; the device is on for the whole test."""
    from syncwatch.watching import watch

    watching = _watching(request.config)
    yield watch(watching.device().kind.value, target=request.node.nodeid)


def _is_watched(item: pytest.Item) -> bool:
    return any(mark.name in HELP for mark in item.iter_markers()) or FIXTURE in getattr(item, "fixturenames", ())


def _watching(config: pytest.Config) -> Watching:
    """Return what is kept in this process; made when the first test is watched, since it imports torch."""
    known = config.stash.get(_WATCHING, None)
    if known is None:
        from syncwatch.pytest_plugin.watched import Watching
        from syncwatch.sense.device import DeviceChoice

        baseline = config.getoption("--syncwatch-baseline")
        known = config.stash[_WATCHING] = Watching(
            choice=DeviceChoice(config.getoption("--syncwatch-device")),
            root=config.rootpath,
            given_baseline=None if baseline is None else Path(baseline),
            updates=config.getoption("--syncwatch-update-baseline"),
        )
    return known
