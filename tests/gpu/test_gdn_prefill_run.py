"""gdn-prefill on a real GPU: with metadata built on the host nothing waits, from pinned or from pageable memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.command import ROOT
from tests.helpers.command import syncwatch as command

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("lengths", ["1x8192", "8x1024", "ragged"])
def test_precomputed_metadata_waits_for_nothing_pinned_or_pageable(tmp_path: Path, lengths: str) -> None:
    path = tmp_path / "run.json"
    variants = ("naive", "precomputed-pageable", "precomputed")
    named = [word for name in variants for word in ("--variant", name)]
    shape = ("--preset", "qwen3.5-2b", "--layers", "4", "--lengths", lengths, "--steps", "5", "--warmup", "2")

    ended = command("run", "gdn-prefill", "--device", "cuda", *shape, *named, "-o", str(path), cwd=ROOT)

    assert ended.code == 0, ended.err
    report = json.loads(path.read_text())
    found = [(each["per_step"]["syncs"], each["per_step"]["d2h_copies"]) for each in report["variants"]]
    assert found == [(1, 1), (0, 0), (0, 0)]
    assert report["comparison"]["outputs_equal"]
