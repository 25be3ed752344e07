"""What test modules see of the GPU while they are imported, and how marked tests that never use it end."""

from __future__ import annotations

import json

import pytest

pytest_plugins = ["pytester"]

_HEAD = """
import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
"""


@pytest.fixture(autouse=True)
def project(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        addopts = ["--strict-markers", "-p", "no:cacheprovider"]
        """
    )


def run(pytester: pytest.Pytester, *arguments: str, **modules: str) -> pytest.RunResult:
    pytester.makepyfile(**modules)
    return pytester.runpytest_subprocess(*arguments)


@pytest.mark.parametrize("arguments", [(), ("-n", "2"), ("-p", "no:xdist")], ids=["plain", "xdist", "no xdist"])
def test_a_device_that_a_module_chooses_at_its_top_is_the_virtual_one(
    pytester: pytest.Pytester, arguments: tuple[str, ...]
) -> None:
    found = run(
        pytester,
        *arguments,
        test_it=_HEAD
        + """
WEIGHTS = torch.ones(8, device=DEVICE)

@pytest.mark.no_sync
def test_waits():
    torch.ones(8, device=DEVICE).sum().item()

@pytest.mark.no_sync
def test_weights():
    assert WEIGHTS.is_cuda and WEIGHTS.sum().item() == 8

def test_unmarked():
    assert (WEIGHTS * 2).is_cuda and torch.cuda.is_available()
""",
        test_other=_HEAD
        + """
def test_unrelated():
    assert DEVICE == "cpu" and not torch.cuda.is_available()
""",
    )

    found.assert_outcomes(passed=2, failed=2)
    found.stdout.fnmatch_lines_random(
        ["*test_waits - Failed: no_sync: SW101*", "*test_weights - Failed: no_sync: SW1*"]
    )


@pytest.mark.parametrize(
    "mark",
    [
        '@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")',
        '@pytest.mark.skipif("not torch.cuda.is_available()")',
        '@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")',
    ],
)
def test_a_marked_test_that_needs_a_gpu_runs_on_the_virtual_one(pytester: pytest.Pytester, mark: str) -> None:
    body = f"""
{mark}
@pytest.mark.no_sync
def test_waits():
    torch.ones(8, device="cuda").sum().item()
"""
    found = run(pytester, test_it=_HEAD + body)

    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["*test_waits - Failed: no_sync: SW101*"])


_CONFTEST = """
import pytest, torch

HAS_GPU = torch.cuda.is_available()
requires_gpu = pytest.mark.skipif(not HAS_GPU, reason="CUDA is not available")

@pytest.fixture(scope="session")
def device():
    return "cuda" if HAS_GPU else "cpu"
"""
_ASKS_CONFTEST = """
import pytest, torch
from conftest import HAS_GPU, requires_gpu

@pytest.mark.no_sync
def test_on_the_cpu(device):
    torch.ones(8, device=device).sum().item()

@requires_gpu
@pytest.mark.no_sync
def test_skipped():
    torch.ones(8, device="cuda").sum().item()

@pytest.mark.no_sync
def test_skips_itself():
    if not HAS_GPU:
        pytest.skip("no GPU")

@pytest.mark.no_sync
@pytest.mark.skip(reason="flaky on Mondays")
def test_skipped_for_another_reason():
    pass
"""


@pytest.mark.parametrize("arguments", [(), ("-n", "1")], ids=["plain", "xdist"])
def test_an_answer_of_before_the_device_fails_marked_tests_and_is_named(
    pytester: pytest.Pytester, arguments: tuple[str, ...]
) -> None:
    reports = ("--syncwatch-report", "json=out.json")
    found = run(pytester, *arguments, *reports, conftest=_CONFTEST, test_it=_ASKS_CONFTEST)

    # A skip in a fixture becomes an error, one in the test itself a failure.
    found.assert_outcomes(failed=2, errors=1, skipped=1)
    found.stdout.fnmatch_lines(
        [
            "no_sync: the test never used the GPU (no kernel, copy, wait or allocation), so nothing was judged.*",
            "*torch.cuda.is_available() at conftest.py:3 was answered no. Run pytest with --syncwatch-device virtual*",
        ]
    )
    found.stdout.fnmatch_lines(["*A watched test was skipped for want of a GPU (*CUDA is not available)*"])
    found.stdout.fnmatch_lines(["syncwatch: skipped and not judged: test_it.py::*, and 2 more."])
    verdict = json.loads((pytester.path / "out.json").read_text())["verdict"]
    assert verdict["outcome"] == "could not measure"


def test_a_device_that_is_named_is_on_before_the_conftests(pytester: pytest.Pytester) -> None:
    named = ("--syncwatch-device", "virtual")
    found = run(
        pytester,
        *named,
        conftest=_CONFTEST,
        test_it=_ASKS_CONFTEST,
        test_other=_HEAD + "def test_other():\n    assert DEVICE == 'cuda'\n",
    )

    found.assert_outcomes(passed=1, failed=3, skipped=1)
    found.stdout.fnmatch_lines_random(
        [
            "*::test_on_the_cpu - Failed: no_sync: SW101*",
            "*::test_skipped - Failed: no_sync: SW101*",
            "*::test_skips_itself - Failed: no_sync: the test never*",
        ]
    )


def test_a_module_that_is_skipped_for_want_of_a_gpu_is_said(pytester: pytest.Pytester) -> None:
    body = """
import pytest
from conftest import HAS_GPU

if not HAS_GPU:
    pytest.skip("no GPU here", allow_module_level=True)

@pytest.mark.no_sync
def test_it():
    pass
"""
    found = run(pytester, conftest=_CONFTEST, test_it=body)

    assert found.ret == pytest.ExitCode.INTERRUPTED
    found.stdout.fnmatch_lines(["*A watched test was skipped for want of a GPU (*no GPU here*)*"])


_IDLE = """
import pytest, torch

pytestmark = pytest.mark.no_sync

class TestClass:
    @pytest.mark.parametrize("size", [1, 2])
    def test_parametrised(self, size):
        assert torch.ones(size).sum().item() == size

@pytest.mark.asyncio
async def test_async():
    torch.ones(8).tolist()

@pytest.mark.xfail(strict=True)
def test_expected():
    torch.ones(8).tolist()

@pytest.fixture
def weights():
    return torch.ones(8, device="cuda")

def test_whose_fixture_uses_it(weights):
    assert weights.shape == (8,)

def test_that_allocates():
    torch.empty(8, device="cuda")

@pytest.mark.sync_budget(1)
def test_budget():
    pass
"""


def test_a_marked_test_that_never_uses_the_device_fails(pytester: pytest.Pytester) -> None:
    found = run(pytester, test_it=_IDLE)

    found.assert_outcomes(passed=2, failed=4, xfailed=1)
    found.stdout.fnmatch_lines(["no_sync: the test never used the GPU*", "sync_budget: the test never used the GPU*"])
    found.stdout.fnmatch_lines(['*Put its tensors on device="cuda", or take sync_budget off it.'])


def test_a_test_with_the_fixture_that_never_uses_the_device_fails(pytester: pytest.Pytester) -> None:
    body = """
import torch

def test_it(syncwatch):
    with syncwatch:
        torch.ones(8).tolist()
    assert syncwatch.report.sites == ()
"""
    found = run(pytester, test_it=body)

    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["*syncwatch: the test never used the GPU*"])


def test_a_module_that_names_us_in_words_alone_imports_nothing(pytester: pytest.Pytester) -> None:
    body = """
import sys

def test_it():
    \"\"\"Unlike a test marked no_sync, this one has no syncwatch.\"\"\"
    assert "torch" not in sys.modules
"""
    run(pytester, "-p", "no:hypothesispytest", test_it=body).assert_outcomes(passed=1)


def test_a_budget_is_held_against_the_worst_step(pytester: pytest.Pytester) -> None:
    body = """
import pytest, syncwatch, torch

@pytest.mark.sync_budget(1)
def test_it():
    x = torch.ones(8, device="cuda")
    for number in range(3):
        with syncwatch.step():
            for _ in range(3 if number == 1 else 0):
                x.sum().item()

@pytest.mark.no_sync
def test_between_steps():
    x = torch.ones(8, device="cuda")
    with syncwatch.step():
        x.sum()
    x.sum().item()
"""
    found = run(pytester, test_it=body)

    found.assert_outcomes(failed=2)
    found.stdout.fnmatch_lines(["*: syncs is 3 in the worst step (1 on average), and*", "*budget is 1."])
    found.stdout.fnmatch_lines(["no_sync: SW101 in test_between_steps*: outside every step, disallowed by*"])
