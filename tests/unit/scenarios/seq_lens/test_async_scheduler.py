"""The simulated scheduler: continuous batching, chunked prefill, and results that come late."""

from __future__ import annotations

import pytest
from syncwatch_scenarios.seq_lens.async_scheduler import accepted_of, draw_table
from syncwatch_scenarios.seq_lens.traffic import DRAW_ROWS, TRAFFIC

from tests.helpers.seq_lens_truth import SMALL, scheduler_of, steps


@pytest.mark.parametrize("seed", range(4))
def test_a_step_keeps_to_its_budget_and_has_decodes_before_prefills(seed: int) -> None:
    kinds = set()
    for rows, truth, _ in steps(scheduler_of(SMALL, seed), 300):
        assert 0 < sum(row.query_len for row in rows) <= SMALL.tokens
        assert len({row.slot for row in rows}) == len(rows) <= SMALL.requests
        assert [row.is_prefill for row in rows] == sorted(row.is_prefill for row in rows)
        assert all(row.query_len == 1 + SMALL.drafts for row in rows if not row.is_prefill)
        assert truth.max() <= SMALL.longest
        kinds.add((any(row.is_prefill for row in rows), any(not row.is_prefill for row in rows)))
    assert {(True, True), (False, True)} <= kinds


def test_the_chunks_of_a_prompt_follow_one_another_and_only_the_last_gives_a_token() -> None:
    chunks: dict[int, list[tuple[int, int, bool]]] = {}
    prompts: dict[int, int] = {}
    for rows, _, _ in steps(scheduler_of(SMALL, 1), 200):
        for row in rows:
            prompts[row.request.number] = row.request.prompt
            if row.is_prefill:
                chunks.setdefault(row.request.number, []).append((row.computed, row.query_len, row.samples))

    assert any(len(each) > 1 for each in chunks.values())
    assert any(each[0][0] > 0 for each in chunks.values()), "no prompt was cached"
    for number, each in chunks.items():
        ends = [start + length for start, length, _ in each]
        assert [start for start, _, _ in each[1:]] == ends[:-1]
        assert [samples for *_, samples in each] == [end == prompts[number] for end in ends]


def test_requests_leave_once_their_output_is_known_and_their_slots_are_used_again() -> None:
    scheduler = scheduler_of(SMALL, 2)
    seen: dict[int, set[int]] = {}
    for rows, _, _ in steps(scheduler, 300):
        for row in rows:
            seen.setdefault(row.slot, set()).add(row.request.number)

    numbers = set().union(*seen.values())
    gone = numbers - {request.number for request in scheduler.running}
    assert len(gone) > 20
    assert all(len(each) > 1 for each in seen.values())


def test_the_same_seed_gives_the_same_steps_and_another_gives_others() -> None:
    def shapes(seed: int) -> list[list[tuple[int, int, int]]]:
        return [
            [(row.slot, row.computed, row.query_len) for row in rows]
            for rows, _, _ in steps(scheduler_of(SMALL, seed), 50)
        ]

    assert shapes(5) == shapes(5)
    assert shapes(5) != shapes(6)


@pytest.mark.parametrize(("acceptance", "expected"), [(0, 0), (1000, 2)])
def test_drafts_are_accepted_up_to_the_first_that_is_refused(acceptance: int, expected: int) -> None:
    table = draw_table(SMALL, 0)

    assert set(accepted_of(table, acceptance).tolist()) == {expected}
    half = accepted_of(table, 500)
    assert (half == [next((i for i, draw in enumerate(row) if draw >= 500), 2) for row in table.tolist()]).all()


@pytest.mark.parametrize("preset", TRAFFIC)
def test_by_the_first_step_of_a_preset_requests_of_every_age_are_running(preset: str) -> None:
    traffic = TRAFFIC[preset]
    scheduler = scheduler_of(traffic, 0)
    rows = [scheduler.schedule() for _ in range(traffic.lead_in + 20)][traffic.lead_in :]

    assert draw_table(traffic, 0).shape == (DRAW_ROWS, traffic.drafts)
    assert all(any(not row.is_prefill for row in step) for step in rows)
    assert sum(any(row.is_prefill for row in step) for step in rows) > 10
    assert any(row.is_prefill and row.computed for step in rows for row in step)
