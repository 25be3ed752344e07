"""The comparison of two fixed runs in every format; `--rewrite-golden` writes the files anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncwatch.app.compare import run_comparison_of
from syncwatch.model.codec import encode
from syncwatch.model.run_comparison import RunComparison
from syncwatch.report.run_comparison import RunComparisonReporter
from tests.helpers.fakes import gdn_session, later_gdn_session

HERE = Path(__file__).parent


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunComparison:
    """Return what changed, of files named as a user would."""
    monkeypatch.chdir(tmp_path)
    before, after = Path("before.json"), Path("after.json")
    gdn_session().save(before)
    later_gdn_session().save(after)
    return run_comparison_of(before, after, ("naive",))


@pytest.mark.parametrize(
    ("name", "reporter"),
    [
        ("difference-100.txt", RunComparisonReporter(100)),
        ("difference-60.txt", RunComparisonReporter(60)),
        ("difference-60-ascii.txt", RunComparisonReporter(60, unicode=False)),
        ("difference-100-color.txt", RunComparisonReporter(100, color=True)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_text_is_as_it_was(
    name: str, reporter: RunComparisonReporter, found: RunComparison, request: pytest.FixtureRequest
) -> None:
    check(name, reporter.render(found), request)


def test_the_json_is_as_it_was(found: RunComparison, request: pytest.FixtureRequest) -> None:
    check("difference.json", encode(found).decode(), request)


def check(name: str, rendered: str, request: pytest.FixtureRequest) -> None:
    golden = HERE / name
    if request.config.getoption("--rewrite-golden"):
        golden.write_text(rendered, encoding="utf-8")
    assert rendered == golden.read_text(encoding="utf-8")
