"""Texts are compared category by category, and gaps count: what has moved in them shows as drift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage_server.quality.drift import psi
from pilotage_server.quality.reference import GAPS, MAX_BINS, reference_bins
from pilotage_server.quality.rows import GateRows

NAN = float("nan")


def texts(count: int) -> tuple[str, ...]:
    return tuple(f"text {n}" for n in range(count))


def bins_of(values: list[float], codes: int = 0) -> tuple[tuple[float, ...], tuple[int, ...]]:
    (found,) = reference_bins(np.array(values)[:, None], ("x",), [texts(codes)])
    return found.edges, found.counts


def test_every_category_has_a_bin() -> None:
    assert bins_of([0.0] * 5 + [1.0] * 3 + [2.0] * 92, codes=3) == ((1.0, 2.0), (5, 3, 92))


def test_gaps_have_a_bin_of_their_own() -> None:
    assert bins_of([0.0, 1.0, 1.0, NAN], codes=2) == ((GAPS, 1.0), (1, 1, 2))
    assert bins_of([7.0, 7.0, NAN]) == ((GAPS,), (1, 2))
    edges, counts = bins_of([NAN, *np.arange(100.0)])
    assert edges[0] == GAPS
    assert counts == (1, *[10] * 10)


def test_rare_neighbours_share_a_bin_when_there_are_too_many() -> None:
    values = [float(code) for code in range(40) for _ in range(100 if code in (3, 30) else 1)]

    edges, counts = bins_of(values, codes=40)

    assert len(counts) == MAX_BINS
    assert {3.0, 4.0, 30.0, 31.0} < set(edges), "the frequent ones stay alone"
    assert sum(counts) == 238


def test_codes_of_other_texts_are_other_bins() -> None:
    """A canary trained on other categories must not have its counts held against stable's."""
    rows = np.array([0.0, 1.0, 2.0])[:, None]
    (one,), (same,), (other,) = (
        reference_bins(rows, ("x",), [categories]) for categories in map(tuple, ("abc", "abc", "acd"))
    )

    assert one.edges == other.edges
    assert one.edges_digest == same.edges_digest != other.edges_digest


@given(
    st.lists(st.none() | st.integers(0, 29), min_size=1, max_size=80),
    st.lists(st.none() | st.integers(0, 29), min_size=1, max_size=80),
)
def test_a_pod_counts_as_the_reference_was_counted(training: list[int | None], asked: list[int | None]) -> None:
    columns = [np.array(values, dtype=np.float64)[:, None] for values in (training, asked)]
    found = reference_bins(columns[0], ("x",), [texts(30)])
    if not found or (not np.isnan(columns[0]).any() and np.isnan(columns[1]).any()):
        return  # without gaps in training a server refuses gaps
    rows = GateRows(model="m", revision="m-1", classes=("a", "b"), features=("x",), reference=found)

    for row in columns[1]:
        rows.add(row[None], np.array([0]), np.array([0.9]))

    assert rows.feature_counts()[0].tolist() == found[0].count(columns[1][:, 0]).tolist()
    assert found[0].count(columns[0][:, 0]).tolist() == list(found[0].counts)
    assert rows.feature_counts()[0].sum() == len(asked)


@pytest.mark.parametrize(
    ("training", "asked", "codes"),
    [
        ([0.0] * 50 + [1.0] * 45 + [2.0] * 5, [0.0] * 25 + [1.0] * 45 + [2.0] * 30, 3),
        ([*np.arange(90.0), *[NAN] * 10], [*np.arange(80.0), *[NAN] * 20], 0),
        ([1.0] * 90 + [NAN] * 10, [1.0] * 80 + [NAN] * 20, 0),
    ],
    ids=["a category grows", "gaps double among numbers", "gaps double in a constant"],
)
def test_what_moved_shows(training: list[float], asked: list[float], codes: int) -> None:
    (bins,) = reference_bins(np.array(training * 10)[:, None], ("x",), [texts(codes)])

    same = psi(np.array(bins.counts), bins.count(np.array(training * 10)))
    moved = psi(np.array(bins.counts), bins.count(np.array(asked * 10)))

    assert same == pytest.approx(0)
    assert moved > 0.05
