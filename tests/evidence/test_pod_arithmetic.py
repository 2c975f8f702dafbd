"""Laws of what pods counted: parts add up to the whole, restarts lose nothing that was scraped, twins are one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.evidence.errors import PastChanged
from pilotage.evidence.pods import growth, of_others, of_ours, processes
from pilotage.evidence.promql import NAME, Series

lives = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=4)
"""Process after process of one pod, each as what it counted before each scrape."""


def scraped(lives: list[list[int]]) -> list[tuple[float, float]]:
    samples, at = [], 0.0
    for life in lives:
        value = 0
        for more in life:
            at, value = at + 15.0, value + more
            samples.append((at, float(value)))
    return samples


def visible(lives: list[list[int]]) -> int:
    """All that was counted; but a process whose first sample is not below its predecessor's last looks like more of
    the same (statistics.md §9), and what it had counted by then goes unseen.
    """
    total, last = 0, 0
    for life in lives:
        first = life[0]
        total += sum(life) - (last if first >= last else 0)
        last = sum(life)
    return total


@given(lives)
def test_every_life_of_a_pod_is_counted(lives: list[list[int]]):
    samples = scraped(lives)

    assert growth(samples, 0.0, samples[-1][0]) == visible(lives)


@given(lives, st.floats(0, 400), st.floats(0, 400))
def test_consecutive_spans_add_up(lives: list[list[int]], one: float, other: float):
    samples = scraped(lives)
    start, middle, end = 0.0, *sorted((one, other))

    assert growth(samples, start, middle) + growth(samples, middle, end) == growth(samples, start, end)


def test_a_counter_that_was_counting_before_it_was_seen_again_is_not_born():
    assert growth([(100.0, 70.0)], 50.0, 120.0) == 70
    assert growth([(100.0, 70.0)], 50.0, 120.0, born=65.0) == 5


OURS = of_ours({"rows_total": ("predicted",)})


def a_series(samples: list[tuple[float, float]], **labels: str) -> Series:
    said = {NAME: "rows_total", "namespace": "models", "pod": "p", "revision": "r", "predicted": "a", **labels}
    return Series(labels=said, samples=tuple(samples))


def test_two_scrapers_of_a_pod_are_one_line_and_the_fuller_one_leads():
    full = [(at, at) for at in (10.0, 25.0, 40.0, 55.0)]
    sparse = [(at, at) for at in (3.0, 33.0, 63.0)]

    (line,) = processes([a_series(full, replica="a"), a_series(sparse, replica="b")], OURS).values()

    assert line == ((3.0, 3.0), *full, (63.0, 63.0))


def test_a_pod_of_the_same_name_with_another_address_goes_on_as_the_same_counter():
    (line,) = processes(
        [
            a_series([(10.0, 4.0), (25.0, 6.0)], instance="10.0.0.1:8081"),
            a_series([(40.0, 1.0)], instance="10.0.0.2:8081"),
        ],
        OURS,
    ).values()

    assert growth(line, 0.0, 50.0) == 7


def test_scrapers_that_contradict_each_other_are_no_answer():
    with pytest.raises(PastChanged, match=r"disagree: 9 lies outside 4 to 5 \(__name__=rows_total"):
        processes([a_series([(10.0, 4.0), (40.0, 5.0), (55.0, 5.0)]), a_series([(25.0, 9.0)], replica="b")], OURS)


def test_the_labels_of_a_stranger_tell_its_processes_apart_and_its_scrapers_not():
    one = {NAME: "good_total", "instance": "x", "prometheus_replica": "a"}

    assert of_others(one) == of_others({**one, "prometheus_replica": "b"})
    assert of_others(one) != of_others({**one, "instance": "y"})
