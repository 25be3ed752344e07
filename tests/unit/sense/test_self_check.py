"""CUPTI's layouts are held against a kernel, a copy and a wait of our own. A fake stands for CUPTI and the GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from syncwatch.errors import NotMeasuredError
from syncwatch.sense.cuda import self_check
from syncwatch.sense.cuda.self_check import check
from tests.helpers.fake_cupti import LAUNCH, MALLOC, READ, STREAM, FakeCupti, program

_SIZE = 12
Work = Callable[[FakeCupti], None]


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """Let every test be the first that checks."""
    self_check._outcome.cache_clear()
    yield
    self_check._outcome.cache_clear()


def launch(cupti: FakeCupti) -> None:
    cupti.play(program((STREAM, 1), (LAUNCH, 2)))
    cupti.kernel(2)


def copy(cupti: FakeCupti, *, size: int = _SIZE, identity: int = 4) -> None:
    cupti.play(program((MALLOC, 3), (READ, 4, _SIZE)))
    cupti.read(identity, size)


def wait(cupti: FakeCupti, *, identity: int = 5) -> None:
    cupti.play(program((STREAM, 5)))
    cupti.waited(identity)


def all_of_it(cupti: FakeCupti) -> None:
    launch(cupti)
    copy(cupti)
    wait(cupti)


def played(monkeypatch: pytest.MonkeyPatch, cupti: FakeCupti, work: Work) -> None:
    """Let `work` be what runs between the begin and the end of the check."""
    monkeypatch.setattr(self_check, "_work", lambda: work(cupti))


def test_what_was_done_is_what_is_recorded(cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch) -> None:
    played(monkeypatch, cupti, all_of_it)
    check()

    assert not cupti.is_subscribed and cupti.records_asked == 0


def shifted(cupti: FakeCupti) -> None:
    cupti.shift_kernels(8)
    all_of_it(cupti)


def no_kernel(cupti: FakeCupti) -> None:
    copy(cupti)
    wait(cupti)


def no_launch(cupti: FakeCupti) -> None:
    cupti.kernel(2)
    no_kernel(cupti)


def no_copy(cupti: FakeCupti) -> None:
    launch(cupti)
    wait(cupti)


def other_copy(cupti: FakeCupti) -> None:
    launch(cupti)
    copy(cupti, identity=77)
    wait(cupti)


def other_size(cupti: FakeCupti) -> None:
    launch(cupti)
    copy(cupti, size=13)
    wait(cupti)


def other_way(cupti: FakeCupti) -> None:
    launch(cupti)
    cupti.play(program((READ, 4, _SIZE)))
    cupti.upload(4, _SIZE)
    wait(cupti)


def no_wait(cupti: FakeCupti) -> None:
    launch(cupti)
    copy(cupti)


def other_wait(cupti: FakeCupti) -> None:
    no_wait(cupti)
    wait(cupti, identity=78)


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (shifted, "a kernel at another time"),
        (no_kernel, "0 kernels of one"),
        (no_launch, "1 without their launch"),
        (no_copy, "0 copies of one"),
        (other_copy, "1 copies of one, or not that which was asked for"),
        (other_size, "a copy of 13 bytes instead of 12"),
        (other_way, "another way"),
        (no_wait, "no wait with its call"),
        (other_wait, "no wait with its call"),
    ],
)
def test_a_record_that_does_not_tell_what_was_done_is_not_trusted(
    cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch, work: Work, said: str
) -> None:
    played(monkeypatch, cupti, work)

    with pytest.raises(NotMeasuredError, match=f"not laid out as this syncwatch knows them .*{said}.*Update syncwatch"):
        check()
    assert not cupti.is_subscribed


def test_it_is_checked_once(cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[bool] = []

    def work(cupti: FakeCupti) -> None:
        tried.append(True)
        shifted(cupti)

    played(monkeypatch, cupti, work)
    for _ in range(2):
        with pytest.raises(NotMeasuredError):
            check()

    assert tried == [True]


def test_a_cupti_that_is_taken_is_asked_again_later(cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch) -> None:
    played(monkeypatch, cupti, all_of_it)
    cupti.give_to_another()
    with pytest.raises(NotMeasuredError, match="has a subscriber already"):
        check()
    cupti.give_to_another(False)

    check()


def test_a_driver_without_memory_leaves_no_subscription(cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: FakeCupti) -> None:
        raise NotMeasuredError("no memory")

    played(monkeypatch, cupti, full)
    with pytest.raises(NotMeasuredError, match="no memory"):
        check()

    assert not cupti.is_subscribed


def test_clocks_that_are_apart_are_no_other_layout(cupti: FakeCupti, monkeypatch: pytest.MonkeyPatch) -> None:
    cupti.run_ahead(7_200_000_000_000)
    played(monkeypatch, cupti, all_of_it)

    check()
