"""What all watched tests gave: gathered from this process or from xdist's workers, also where pytest ends early."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from syncwatch.errors import EXIT_NOT_MEASURED, SyncwatchError, UsageError

if TYPE_CHECKING:
    from syncwatch.app.report import Output
    from syncwatch.pytest_plugin.judging import JudgedTest


ATTRIBUTE = "syncwatch_found"
"""Of a test report: what was found, as JSON; xdist carries it from the worker."""

SKIPPED = "syncwatch_skipped"
"""Of a report: why a test that was to be watched, or its module, was skipped."""


class Results:
    """A plugin of its own, since `pytest_runtest_logreport` is told of no configuration.

    Args:
        asked: what `--syncwatch-report` was given.

    Raises:
        UsageError: if there is no such format, or no file.
    """

    def __init__(self, asked: list[str]) -> None:
        self._outputs = _outputs(asked) if asked else ()
        self._packed: list[str] = []
        self._skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what one test gave."""
        packed = getattr(report, ATTRIBUTE, None)
        if packed is not None:
            self._packed.append(packed)
        self._keep_skipped(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep that a module was skipped."""
        self._keep_skipped(report)

    def _keep_skipped(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        reason = getattr(report, SKIPPED, None)
        if reason is not None:
            self._skipped[report.nodeid] = reason

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the reports, in the process that has every test."""
        if hasattr(session.config, "workerinput") or not self._outputs or not self._packed:
            return
        from syncwatch.app.report import write_text
        from syncwatch.pipeline import rendered

        found = self._found()
        try:
            for output in self._outputs:
                if output.path is not None:
                    write_text(rendered(output.form, found.report, found.verdict), output.path)
        except SyncwatchError as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say how many tests were watched, and on which device."""
        if self._packed:
            terminalreporter.write_line(f"syncwatch: {_summary(self._found())}")
        elif self._outputs:
            terminalreporter.write_line("syncwatch: no test was watched, so no report was written.", yellow=True)
        if self._skipped:
            terminalreporter.write_line(f"syncwatch: {_skips(self._skipped)}", yellow=True)

    def _found(self) -> JudgedTest:
        import msgspec

        from syncwatch.pytest_plugin.judging import JudgedTest, merged

        return merged([msgspec.json.decode(packed, type=JudgedTest) for packed in self._packed])


def _outputs(asked: list[str]) -> tuple[Output, ...]:
    from syncwatch.app.report import output_of
    from syncwatch.cli.outputs import require_writable

    outputs = tuple(output_of(words) for words in asked)
    for output in outputs:
        if output.path is None:
            name = output.form.value
            raise UsageError(f"--syncwatch-report {name} names no file. Write it as --syncwatch-report {name}=FILE.")
        require_writable(output.path)
    return outputs


def _skips(skipped: Mapping[str, str]) -> str:
    """Return one sentence on what was skipped, so that it is not taken for watched."""
    first, reason = next(iter(skipped.items()))
    more = f", and {len(skipped) - 1} more" if len(skipped) > 1 else ""
    return f"skipped and not judged: {first} ({reason.removeprefix('Skipped: ')}){more}."


def _summary(found: JudgedTest) -> str:
    """Return one sentence; the device belongs to it."""
    from syncwatch.model.session import DeviceKind
    from syncwatch.report.text import plural

    gpu = found.report.environment.gpu or "CUDA"
    where = "the virtual CUDA device" if found.report.device is DeviceKind.VIRTUAL else gpu
    return f"{plural(len(found.report.variants), 'test')} watched on {where}: {found.verdict.outcome.value}."


@contextlib.contextmanager
def report_early_exit(item: pytest.Item) -> Iterator[None]:
    """Let the end of pytest inside the block say which test it was; a status of 0 becomes 3: nothing was judged."""
    plain, owner = os._exit, os.getpid()

    def _exit(status: int) -> NoReturn:
        if os.getpid() == owner:
            capture = item.config.pluginmanager.getplugin("capturemanager")
            if capture is not None:
                # What is captured is lost with the process.
                capture.suspend_global_capture()
            sys.stderr.write(
                f"error: {item.nodeid} ended pytest with os._exit({status}), so that neither it nor the tests after it "
                "were judged. Let it return, or call os._exit in a child.\n"
            )
            sys.stderr.flush()
            status = status or EXIT_NOT_MEASURED
        plain(status)

    os._exit = _exit
    try:
        yield
    except pytest.exit.Exception as end:
        if end.returncode != 0:
            raise
        said = f"{end.msg} (in {item.nodeid}, so that neither it nor the tests after it were judged)"
        raise pytest.exit.Exception(said, returncode=EXIT_NOT_MEASURED) from end
    finally:
        if os._exit is _exit:
            os._exit = plain
