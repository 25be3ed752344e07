"""A recording is attributed and priced once, whatever is asked of it, and no table is keyed by a record's address."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import pytest

import syncwatch.analyse.build
import syncwatch.pipeline
from benchmarks.house import BY_IDENTITY, figures, id_keys, product, tree_of
from syncwatch.app.export import TraceFormat, export
from syncwatch.app.report import Output, show_and_keep
from syncwatch.model.analysis import Finding
from syncwatch.model.report import Site
from syncwatch.pipeline import analysed
from syncwatch.report.formats import Format
from tests.helpers.fakes import US, gdn_session, kernel, recording, session, sync


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each recording was attributed and priced."""
    counted: Counter[str] = Counter()
    for module, name in ((syncwatch.pipeline, "attribute"), (syncwatch.analyse.build, "price")):
        plain = getattr(module, name)

        def spy(*args: object, name: str = name, plain: object = plain) -> object:
            counted[name] += 1
            return plain(*args)  # type: ignore[operator]

        monkeypatch.setattr(module, name, spy)
    return counted


def test_one_analysis_serves_the_run_file_every_format_and_each_trace(asked: Counter[str], tmp_path: Path) -> None:
    # GIVEN two recordings
    analysis = analysed(gdn_session())

    # WHEN everything is asked of them together
    show_and_keep([Output(form, tmp_path / form.value) for form in Format], analysis, tmp_path / "run.json")
    export(analysis, TraceFormat.NSYS, tmp_path / "trace.sqlite")
    export(analysis, TraceFormat.PERFETTO, tmp_path / "trace.json")

    # THEN
    assert asked == {"attribute": 2, "price": 2}
    assert len(list(tmp_path.iterdir())) == 3 + len(Format)


def test_a_wait_keeps_its_line_and_its_price_when_its_record_is_made_anew() -> None:
    # GIVEN a recording whose waits are equal, and one whose waits were copied, as a rebased clock copies them
    known = recording(
        syncs=[sync(at=(10 * US, 50 * US)), sync(at=(70 * US, 80 * US)), sync()], kernels=[kernel((0, 40 * US))]
    )
    copied = replace(known, syncs=tuple(replace(each, step=None) for each in known.syncs))

    # THEN the prices go by place: 40 us blocked, 30 of them behind the kernel; the second waited for nothing
    waits = analysed(session(copied)).recordings[0].waits
    assert [(each.price and (each.price.blocked_ns, each.price.drain_ns)) for each in waits] == [
        (40 * US, 30 * US),
        (10 * US, 0),
        None,
    ]
    assert {each.finding and each.finding.code for each in waits} == {"SW101"}


def test_no_table_of_records_is_keyed_by_id() -> None:
    keyed = {
        name: count
        for name, path in product().items()
        if not name.startswith(BY_IDENTITY) and (count := id_keys(tree_of(path)))
    }
    assert keyed == {}


def test_the_product_attributes_and_prices_in_one_place() -> None:
    found = figures()
    assert found["places_that_attribute"] == ["syncwatch.pipeline"]
    assert found["places_that_price"] == ["syncwatch.analyse.build"]


def test_a_site_says_all_that_the_finding_of_its_waits_says() -> None:
    of_site = {each.name: each.type for each in fields(Site)}
    assert {each.name: of_site.get(each.name) for each in fields(Finding)} == {
        each.name: each.type for each in fields(Finding)
    }
    (found,) = analysed(session(recording(syncs=[sync()]))).recordings
    (site,), finding = found.summary.sites, found.waits[0].finding
    assert {each.name: getattr(site, each.name) for each in fields(Finding)} == {
        each.name: getattr(finding, each.name) for each in fields(Finding)
    }
