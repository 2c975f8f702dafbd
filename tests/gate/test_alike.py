"""The score under every condition: at most 1 in expectation while two groups are drawn alike, block by block."""

from itertools import product
from math import comb, exp

import pytest

from pilotage.gate.conditions.alike import NONE, Draws, log_mean, within


def hypergeometric(group: int, others: int, hits: int) -> dict[int, float]:
    """Chances of the hits in a group, given how many there are in all."""
    return {
        k: comb(group, k) * comb(others, hits - k) / comb(group + others, hits)
        for k in range(max(0, hits - others), min(group, hits) + 1)
    }


@pytest.mark.parametrize(("group", "others"), [(1, 1), (1, 9), (3, 7), (5, 5), (10, 3), (20, 40)])
def test_one_block_has_expectation_at_most_one_whatever_its_rate(group, others):
    for hits in range(group + others + 1):
        chances = hypergeometric(group, others, hits)
        values = {k: exp(within(group, k, group + others, hits).log_e()) for k in chances}
        assert sum(chances[k] * values[k] for k in chances) <= 1 + 1e-9


def test_two_blocks_of_different_rates_have_expectation_at_most_one():
    first, second = hypergeometric(4, 8, 2), hypergeometric(6, 2, 6)
    expected = 0.0
    for a, b in product(first, second):
        draws = within(4, a, 12, 2) + within(6, b, 8, 6)
        expected += first[a] * second[b] * exp(draws.log_e())
    assert 0.5 < expected <= 1 + 1e-9


def test_it_grows_when_the_groups_differ():
    assert within(100, 50, 1000, 100).log_e() > 7
    assert within(100, 0, 1000, 400).log_e() > 7


def test_clumps_count_as_one_row_each():
    draws = within(1000, 300, 2000, 400)
    assert draws.log_e(100) < draws.log_e(10) < draws.log_e()


def test_a_group_that_is_everything_or_nothing_says_nothing():
    assert within(0, 0, 10, 5) == within(10, 5, 10, 5) == NONE
    assert NONE.log_e() == 0.0
    assert within(5, 0, 10, 0).log_e() == 0.0
    assert log_mean([]) == 0.0


def test_draws_survive_being_written():
    draws = within(7, 3, 19, 8) + within(1, 0, 3, 1)
    assert Draws.from_list(draws.to_list()) == draws
