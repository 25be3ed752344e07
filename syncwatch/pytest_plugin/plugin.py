"""What pytest calls: hooks, options and a fixture; what they need is imported when a test is watched."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from syncwatch.errors import SyncwatchError
from syncwatch.pytest_plugin.gpu_questions import GpuQuestions, skipped_for_want_of_a_gpu, unused_sentence
from syncwatch.pytest_plugin.marks import FIXTURE, HELP, Limit, limit_of, uses_markers
from syncwatch.pytest_plugin.results import ATTRIBUTE, SKIPPED, Results, report_early_exit
from syncwatch.pytest_plugin.threads import RunningThreads

if TYPE_CHECKING:
    from syncwatch.app.watch import watch
    from syncwatch.pytest_plugin.judging import Watching

_WATCHING = pytest.StashKey["Watching"]()
_LIMIT = pytest.StashKey[Limit | None]()
_FOUND = pytest.StashKey[str]()
_USED = pytest.StashKey[int | None]()
_ASKED = pytest.StashKey[GpuQuestions]()


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


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before any conftest: record who asks for a GPU, and put the virtual device on where it was asked for by name."""
    asked = early_config.stash[_ASKED] = GpuQuestions()
    asked.start()
    early_config.add_cleanup(asked.stop)
    if early_config.known_args_namespace.syncwatch_device == "virtual":
        # For kernels that conftests and test modules define.
        os.environ["TRITON_INTERPRET"] = "1"
        _try_device(early_config)


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known, and refuse a report that could not be written."""
    for line in HELP.values():
        config.addinivalue_line("markers", line)
    try:
        config.pluginmanager.register(Results(config.getoption("--syncwatch-report")), "syncwatch-results")
    except SyncwatchError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Put the device on while a module that speaks of us is imported: what it learns of the GPU there, it keeps."""
    if not _is_ours(collector):
        return (yield)
    _try_device(collector.config)
    try:
        report = yield
    finally:
        _put_off(collector.config)
    if report.skipped:
        _say_skipped(report, collector)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Put the device on before fixtures make tensors on it."""
    if not _is_watched(item):
        if _is_ours(item):
            _try_device(item.config)
        return
    try:
        item.stash[_LIMIT] = limit_of(item.iter_markers())
        item.stash[_USED] = _watching(item.config).device().used()
    except SyncwatchError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Watch a marked test, and fail it where it waits too much; a test that fails by itself is not judged."""
    limit = item.stash.get(_LIMIT, None) or _late_limit(item)
    if limit is None:
        result = yield
        unused = _why_unused(item, FIXTURE) if _is_watched(item) else None
        if unused is not None:
            pytest.fail(unused, pytrace=False)
        return result
    from syncwatch.app.watch import watch
    from syncwatch.model.codec import encode

    watching, threads = _watching(item.config), RunningThreads()
    with report_early_exit(item), watch(watching.device().kind.value, prices=False) as watched:
        result = yield
        left = threads.left()
    try:
        judged = watching.judge(watched.session, limit, item.nodeid, unused=_why_unused(item, limit.marker), left=left)
    except SyncwatchError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    item.stash[_FOUND] = encode(judged).decode()
    if judged.verdict.reasons:
        pytest.fail(judged.text(limit, item.config.get_terminal_writer().fullwidth), pytrace=False)
    return result


def _late_limit(item: pytest.Item) -> Limit | None:
    """Return what a marker asks that a fixture has put on the test, when the device was not on for its fixtures."""
    try:
        return limit_of(item.iter_markers())
    except SyncwatchError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _why_unused(item: pytest.Item, asked_by: str) -> str | None:
    """Return what to say of a watched test that left the device alone: nothing in it could have waited."""
    before, after = item.stash.get(_USED, None), _watching(item.config).device().used()
    if before is None or before != after:
        return None
    return unused_sentence(asked_by, item.path, _asked(item.config))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Take the device off, unless the next test is on it too: they may share fixtures."""
    try:
        return (yield)
    finally:
        if nextitem is None or not (_is_watched(nextitem) or _is_ours(nextitem)):
            _put_off(item.config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing patched."""
    watching = config.stash.get(_WATCHING, None)
    if watching is not None:
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
    if report.skipped and not hasattr(report, "wasxfail") and _is_watched(item):
        _say_skipped(report, item)
    return report


def _say_skipped(report: pytest.TestReport | pytest.CollectReport, node: pytest.Item | pytest.Collector) -> None:
    """Hand on that what was to be watched was skipped; it fails where that is because nobody saw the virtual GPU."""
    from syncwatch.model.session import DeviceKind

    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    setattr(report, SKIPPED, reason)
    watching = node.config.stash.get(_WATCHING, None)
    virtual = watching is not None and watching.kind is DeviceKind.VIRTUAL
    said = skipped_for_want_of_a_gpu(reason, node.path, _asked(node.config)) if virtual else None
    if said is not None:
        report.outcome = "failed"
        report.longrepr = said


@pytest.fixture(name=FIXTURE)
def _watch(request: pytest.FixtureRequest) -> Generator[watch, None, None]:
    """Give a watch: `with syncwatch: step()`, then `syncwatch.report`; the device is on for the whole test."""
    from syncwatch.app.watch import watch

    watching = _watching(request.config)
    yield watch(watching.device().kind.value, target=request.node.nodeid)


def _is_watched(item: pytest.Item) -> bool:
    return any(mark.name in HELP for mark in item.iter_markers()) or FIXTURE in getattr(item, "fixturenames", ())


def _is_ours(node: pytest.Item | pytest.Collector) -> bool:
    """Return whether the device is on while `node` is collected and run: its module speaks of us, or all are meant."""
    if node.config.known_args_namespace.syncwatch_device == "virtual":
        return True
    module = node.getparent(pytest.Module)
    return module is not None and uses_markers(module.path)


def _asked(config: pytest.Config) -> GpuQuestions:
    return config.stash.get(_ASKED, None) or GpuQuestions()


def _try_device(config: pytest.Config) -> None:
    """Put the device on if it can be; a test that needs it says later why it cannot."""
    with contextlib.suppress(SyncwatchError):
        _watching(config).device()


def _put_off(config: pytest.Config) -> None:
    """Take the device off; where it was asked for by name it stays on to the end."""
    watching = config.stash.get(_WATCHING, None)
    if watching is not None and config.known_args_namespace.syncwatch_device != "virtual":
        watching.close()


def _watching(config: pytest.Config) -> Watching:
    """Return what is kept in this process; made when the first test is watched, since it imports torch."""
    known = config.stash.get(_WATCHING, None)
    if known is None:
        from syncwatch.pytest_plugin.judging import Watching
        from syncwatch.sense.choose_device import DeviceChoice

        # Before the conftests are loaded the configuration is not whole.
        given = config.known_args_namespace
        known = config.stash[_WATCHING] = Watching(
            choice=DeviceChoice(given.syncwatch_device),
            root=config.rootpath,
            given_baseline=None if given.syncwatch_baseline is None else Path(given.syncwatch_baseline),
            updates=given.syncwatch_update_baseline,
        )
    return known
