"""What the tests of the sensors share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.fake_cupti import FakeCupti, fake_cupti


@pytest.fixture
def cupti(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCupti]:
    """A CUPTI without a GPU, to which the test plays a program."""
    with fake_cupti(monkeypatch) as fake:
        yield fake
