"""The causes of waits: their codes never change, and every cause has a complete page."""

from __future__ import annotations

import ast

import pytest

from syncwatch.attribute.causes import CAUSES, Cause
from syncwatch.attribute.causes.base import by_code


def test_the_codes_are_a_public_contract() -> None:
    assert list(CAUSES) == [
        *(f"SW10{number}" for number in range(1, 6)),
        *(f"SW20{number}" for number in range(1, 10)),
        *(f"SW30{number}" for number in range(1, 6)),
        *(f"SW40{number}" for number in range(1, 4)),
        "SW501",
        "SW502",
        "SW601",
        "SW602",
        "SW900",
    ]


def test_two_causes_with_one_code_are_refused() -> None:
    cause = CAUSES["SW101"]
    with pytest.raises(ValueError, match="SW101 is both"):
        by_code([cause, cause])


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES.keys())
def test_every_cause_has_a_whole_page(cause: Cause) -> None:
    assert cause.hint.endswith((".", "`.")) and "\n" not in cause.hint + cause.title
    assert not cause.title.endswith(".")
    assert cause.what_it_does.endswith(".") and cause.why_it_waits.endswith(".")
    assert all(reference.startswith("https://") for reference in cause.references)
    for source in (cause.example, cause.use_instead):
        ast.parse(source)


def test_only_what_was_asked_for_is_fixed_as_explicit() -> None:
    assert {code for code, cause in CAUSES.items() if cause.explicit} == {"SW401", "SW402", "SW403"}
