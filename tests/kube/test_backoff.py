"""Back-offs grow, stop growing, and never all wake at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.kube.backoff import Backoff


def a_backoff(jitter: float = 0.0) -> Backoff:
    return Backoff(base_s=1.0, cap_s=30.0, jitter=lambda: jitter)


def test_doubles_up_to_its_cap() -> None:
    backoff, waits = a_backoff(jitter=1.0), []
    for _ in range(8):
        backoff = backoff.next(100.0)
        waits.append(backoff.wait_s(100.0))

    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_starts_anew_after_a_success() -> None:
    backoff = a_backoff(jitter=1.0).next(0).next(0).reset()

    assert backoff.wait_s(0) == 0
    assert backoff.next(0).wait_s(0) == 1


def test_waits_at_least_as_long_as_the_server_asks() -> None:
    assert a_backoff().next(0, at_least_s=12.0).wait_s(0) == 12.0


def test_an_earlier_one_is_not_changed_by_a_later_one() -> None:
    first = a_backoff().next(0)
    first.next(0)

    assert first.failures == 1


@given(st.integers(0, 5000), st.floats(0, 1, exclude_max=True))
def test_lies_between_half_of_its_step_and_the_whole(failures: int, jitter: float) -> None:
    backoff = Backoff(base_s=0.5, cap_s=60.0, jitter=lambda: jitter, failures=failures).next(0)
    step = min(60.0, 0.5 * 2.0 ** min(failures, 64))

    assert step / 2 <= backoff.at <= step


def test_refuses_a_base_above_its_cap() -> None:
    with pytest.raises(ValueError, match=r"base_s: 5\.0 must be above 0 and at most cap_s, 1\.0"):
        Backoff(base_s=5.0, cap_s=1.0, jitter=lambda: 0.0)
