"""The pytest plugin in runs of pytest of its own, as a user's project would have it."""

from __future__ import annotations

import json

import junitparser
import pytest

from tests.helpers.command import ROOT
from tests.helpers.waits import sites_that_wait

pytest_plugins = ["pytester"]

_HEAD = """
import asyncio, unittest, warnings
import pytest, torch
import syncwatch as sw

def vector():
    return torch.arange(8.0, device="cuda")

def deep(x):
    return deeper(x)

def deeper(x):
    return x.sum().item()
"""


def run(pytester: pytest.Pytester, body: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        asyncio_default_fixture_loop_scope = "function"
        addopts = ["--strict-markers", "-p", "no:cacheprovider"]
        """
    )
    pytester.makepyfile(test_it=_HEAD + body)
    return pytester.runpytest_subprocess(*arguments)


def test_a_wait_fails_a_marked_test_and_is_shown_as_the_gate_shows_it(pytester: pytest.Pytester) -> None:
    found = run(
        pytester,
        """
@pytest.mark.no_sync
def test_waits():
    deep(vector())

@pytest.mark.no_sync
def test_does_not():
    vector().sum()

@pytest.mark.no_sync
def test_asked_for():
    torch.cuda.synchronize()

def test_unmarked():
    assert torch.cuda.is_available()
""",
    )

    found.assert_outcomes(passed=2, failed=2)
    found.stdout.fnmatch_lines(
        [
            "no_sync: SW101 in deeper (test_it.py:12): disallowed by the default for implicit waits.",
            "SW101 a scalar is read from the GPU",
            "*--> test_it.py:12 in deeper",
            "12 | return x.sum().item()",
            "   |        ^^^^^^^^^^^^^^",
            "*= help: keep the value on the GPU*",
            "syncwatch: 3 tests watched on the virtual CUDA device: over policy.",
            "FAILED test_it.py::test_waits - Failed: no_sync: SW101*",
            "FAILED test_it.py::test_asked_for - Failed: no_sync: SW401*",
        ]
    )
    found.stdout.no_fnmatch_line("*runtest_call*")


def test_budgets_kinds_and_reasons_let_waits_pass(pytester: pytest.Pytester) -> None:
    found = run(
        pytester,
        """
@pytest.mark.sync_budget(2)
def test_within_budget():
    x = vector()
    x.sum().item()
    x.tolist()

@pytest.mark.sync_budget(n=1)
def test_over_budget():
    x = vector()
    x.sum().item()
    x.tolist()

@pytest.mark.sync_budget(1)
def test_a_step_counts():
    for _ in range(3):
        with sw.step():
            vector().sum().item()

@pytest.mark.no_sync(kinds="implicit")
def test_explicit_does_not_count():
    torch.cuda.synchronize()

@pytest.mark.no_sync(kinds=["SW2", "explicit"])
def test_only_these_codes_count():
    vector().sum().item()

@pytest.mark.no_sync(kinds=["SW2", "explicit"])
def test_these_codes_count():
    x = vector()
    x[x > 3]

@pytest.mark.no_sync(allow={"SW101": "the assertion"})
def test_allowed_by_the_marker():
    assert vector().sum().item() == 28.0

@pytest.mark.no_sync(allow="SW1")
def test_another_cause_is_not_allowed():
    x = vector()
    x[x > 3]

@pytest.mark.no_sync
def test_allowed_by_a_block():
    with sw.allow("the assertion"):
        assert vector().sum().item() == 28.0

@pytest.mark.no_sync
def test_allowed_by_a_comment():
    assert vector().sum().item() == 28.0  # syncwatch: allow[SW101] the assertion
""",
    )

    found.assert_outcomes(passed=7, failed=3)
    found.stdout.fnmatch_lines(
        [
            "FAILED *::test_over_budget - Failed: sync_budget: SW10*",
            "FAILED *::test_these_codes_count - Failed: no_sync: SW201*",
            "FAILED *::test_another_cause_is_not_allowed - Failed: no_sync: SW201*",
        ]
    )


_WAYS = """
pytestmark = pytest.mark.no_sync

@pytest.mark.parametrize("name", ["plain", "a::b", "<b>&\\"]]>", "\\x1b[31m", "\\u6f22"])
def test_parametrised(name):
    vector().sum().item()

@pytest.mark.asyncio
async def test_asyncio():
    await asyncio.sleep(0)
    deep(vector())

@pytest.mark.anyio
async def test_anyio():
    await asyncio.sleep(0)
    deep(vector())

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.asyncio
async def test_asyncio_clean():
    await asyncio.sleep(0)
    with sw.allow("read once"):
        deep(vector())

class TestUnittest(unittest.TestCase):
    def test_case(self):
        deep(vector())

class TestNearest:
    pytestmark = pytest.mark.sync_budget(1)

    def test_class(self):
        deep(vector())

    @pytest.mark.no_sync
    def test_method(self):
        deep(vector())

def test_catch_warnings():
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("ignore")
        deep(vector())

def test_guard():
    with sw.guard("disallow"), pytest.raises(sw.SyncError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        deep(vector())

@pytest.mark.xfail(strict=True)
def test_expected_to_wait():
    deep(vector())

def test_its_own_failure():
    deep(vector())
    raise ZeroDivisionError("mine")

def test_skips():
    pytest.skip("not here")
"""
_FAILING = {
    *(f"test_parametrised[{name}]" for name in ("plain", "a::b", '<b>&"]]>', "\\x1b[31m", "\\u6f22")),
    "test_asyncio",
    "test_anyio",
    "test_case",
    "test_method",
    "test_catch_warnings",
    "test_its_own_failure",
}


@pytest.mark.parametrize(
    "arguments", [(), ("-p", "no:warnings", "-W", "error"), ("-n", "2")], ids=["plain", "no warnings plugin", "xdist"]
)
def test_every_kind_of_test_is_watched(pytester: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    reports = (
        "--junit-xml",
        "pytest.xml",
        "--syncwatch-report",
        "json=out.json",
        "--syncwatch-report",
        "junit=out.xml",
    )

    found = run(pytester, _WAYS, *arguments, *reports)

    found.assert_outcomes(passed=3, failed=11, xfailed=1, skipped=1)
    cases = [case for suite in junitparser.JUnitXml.fromfile("pytest.xml") for case in suite]
    assert {
        case.name for case in cases if any(isinstance(each, junitparser.Failure) for each in case.result)
    } == _FAILING
    found.stdout.fnmatch_lines(["*ZeroDivisionError: mine*", "syncwatch: 14 tests watched on the virtual CUDA device*"])
    report = json.loads((pytester.path / "out.json").read_text())
    assert (report["target"], len(report["variants"]), report["verdict"]["outcome"]) == ("pytest", 14, "over policy")
    assert {len(sites_that_wait(variant["sites"])) for variant in report["variants"]} == {0, 1}
    ours = junitparser.JUnitXml.fromfile(str(pytester.path / "out.xml"))
    assert (len(list(ours)), ours.failures) == (14, 11)


def test_the_fixture_gives_a_watch_and_shared_fixtures_stay_on_the_device(pytester: pytest.Pytester) -> None:
    found = run(
        pytester,
        """
@pytest.fixture(scope="module")
def weights():
    return vector()

@pytest.fixture
def inputs():
    return vector()

def test_fixture(syncwatch, inputs):
    assert inputs.is_cuda
    with syncwatch:
        inputs.tolist()
    assert [(site.code, site.line) for site in syncwatch.report.sites] == [("SW102", 25)]

@pytest.mark.no_sync
def test_first(weights, inputs):
    assert weights.is_cuda and (weights + inputs).is_cuda

@pytest.mark.no_sync
def test_second(weights, inputs):
    assert weights.is_cuda and (weights + inputs).is_cuda

@pytest.mark.no_sync
def test_both(syncwatch, inputs):
    with syncwatch:
        pass
    assert syncwatch.report.sites == ()
""",
    )

    found.assert_outcomes(passed=4)


def test_the_baseline_knows_old_waits_and_fails_new_ones(pytester: pytest.Pytester) -> None:
    one = """
@pytest.mark.no_sync
def test_waits():
    deep(vector())
"""
    two = one + "    vector().tolist()\n"
    named = ("--syncwatch-baseline", "known.jsonl")

    run(pytester, one, *named, "--syncwatch-update-baseline").assert_outcomes(passed=1)
    run(pytester, "\n\n\n" + one, *named).assert_outcomes(passed=1)
    found = run(pytester, two, *named)
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["no_sync: SW102 in test_waits (test_it.py:*): new: it is not in the baseline."])
    run(pytester, one).assert_outcomes(failed=1)


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("no_sync(3)", "*no_sync takes no number, and was given 3. Use sync_budget(3)."),
        ("sync_budget", "*sync_budget takes one number*"),
        ("sync_budget(-1)", "*a number from 0 up, and -1 is none."),
        ("no_sync(kind='implicit')", "*no_sync has no argument 'kind'. It takes kinds and allow."),
        ("no_sync(kinds='implict')", "*The marker no_sync: there is no cause 'implict'*"),
        ("no_sync(allow=[1])", "*no_sync names a cause by its code*1 is none."),
    ],
)
def test_a_marker_that_makes_no_sense_is_refused(pytester: pytest.Pytester, marker: str, said: str) -> None:
    found = run(pytester, f"\n@pytest.mark.{marker}\ndef test_it():\n    pass\n")

    found.assert_outcomes(errors=1)
    found.stdout.fnmatch_lines([said])
    found.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--syncwatch-report", "sarif"), "*names no file*"),
        (("--syncwatch-report", "sarf=x"), "*Did you mean sarif*"),
        (("--syncwatch-report", "sarif=no/such/folder"), "*Cannot write no/such/folder*"),
    ],
)
def test_a_report_that_cannot_be_written_is_refused(
    pytester: pytest.Pytester, arguments: tuple[str, ...], said: str
) -> None:
    found = run(pytester, "\n@pytest.mark.no_sync\ndef test_it():\n    pass\n", *arguments)

    assert found.ret == pytest.ExitCode.USAGE_ERROR
    found.stderr.fnmatch_lines([said])


def test_what_cannot_be_measured_does_not_pass(pytester: pytest.Pytester) -> None:
    found = run(
        pytester,
        "\n@pytest.mark.no_sync\ndef test_it():\n    pass\n",
        "--syncwatch-device",
        "cuda",
        "--syncwatch-report",
        "json=out.json",
    )

    found.assert_outcomes(errors=1)
    found.stdout.fnmatch_lines(["There is no CUDA GPU here.*", "syncwatch: no test was watched*"])
    assert not (pytester.path / "out.json").exists()


def test_without_a_marker_nothing_is_imported(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            heavy = {"torch", "rich", "msgspec", "numpy", "syncwatch.pipeline"}
            assert "syncwatch.pytest_plugin.plugin" in sys.modules and not heavy & sys.modules.keys()
        """
    )

    pytester.runpytest_subprocess("-p", "no:hypothesispytest").assert_outcomes(passed=1)


def test_kernels_of_a_test_module_run_on_the_virtual_device(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    found = run(
        pytester,
        """
import triton
import triton.language as tl

@triton.jit
def double(x, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(x + at, 2 * tl.load(x + at, mask=at < n), mask=at < n)

@pytest.mark.no_sync(allow={"SW101": "the assertion"})
def test_kernel():
    x = vector()
    double[(1,)](x, 8, BLOCK=8)
    assert x.sum().item() == 56.0
""",
        "--syncwatch-device",
        "virtual",
    )

    found.assert_outcomes(passed=1)


def test_markers_are_described(pytester: pytest.Pytester) -> None:
    found = pytester.runpytest_subprocess("--markers")

    found.stdout.fnmatch_lines(["@pytest.mark.no_sync(kinds=..., allow=...): *", "@pytest.mark.sync_budget(n, *"])


def test_the_page_shows_what_pytest_says(pytester: pytest.Pytester) -> None:
    page = (ROOT / "docs" / "pytest.md").read_text()
    pytester.makepyfile(test_decode=page.partition("```python\n")[2].partition("```")[0])

    found = pytester.runpytest_subprocess("--syncwatch-device", "virtual").stdout.str()

    headline, _, finding = page.partition("```console\n$ pytest\n")[2].partition("```")[0].partition("\n\n")
    assert headline in found and finding in found


@pytest.mark.gpu
def test_markers_on_a_gpu(pytester: pytest.Pytester) -> None:
    found = run(
        pytester,
        """
pytestmark = pytest.mark.no_sync

def test_waits():
    deep(vector())

def test_catch_warnings():
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("ignore")
        deep(vector())

def test_held_copy():
    torch.empty(8).copy_(vector(), non_blocking=True)

def test_clean():
    (vector() + 1).sum()

def test_allowed():
    with sw.allow("the assertion"):
        assert vector().sum().item() == 28.0
""",
        "--syncwatch-device",
        "cuda",
    )

    found.assert_outcomes(passed=2, failed=3)
    found.stdout.fnmatch_lines(["syncwatch: 5 tests watched on NVIDIA*: over policy."])


def test_a_test_that_ends_pytest_with_status_0_is_named_and_is_exit_3(pytester: pytest.Pytester) -> None:
    found = run(
        pytester,
        """
import os

@pytest.mark.no_sync
def test_leaves():
    deep(vector())
    os._exit(0)

def test_never_ran():
    assert False
""",
    )
    assert found.ret == 3
    found.stderr.fnmatch_lines(["error: test_it.py::test_leaves ended pytest with os._exit(0)*"])


def test_a_test_that_exits_pytest_with_status_0_is_named_and_is_exit_3(pytester: pytest.Pytester) -> None:
    found = run(
        pytester,
        """
@pytest.mark.no_sync
def test_leaves():
    deep(vector())
    pytest.exit("done", returncode=0)
""",
    )
    assert found.ret == 3
    assert "test_it.py::test_leaves" in found.stdout.str()


def test_a_marker_that_a_fixture_puts_on_a_test_holds(pytester: pytest.Pytester) -> None:
    run(
        pytester,
        """
@pytest.fixture(autouse=True)
def mark(request):
    request.applymarker(pytest.mark.no_sync)

def test_waits():
    deep(vector())
""",
    ).assert_outcomes(failed=1)
