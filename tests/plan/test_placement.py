"""Which clusters are selected, and which wave is theirs."""

from __future__ import annotations

import pytest

from pilotage.api.types import LabelSelector, Wave
from pilotage.plan.placement import matches, waves_to_come


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ({"key": "tier", "operator": "In", "values": ["serving", "edge"]}, True),
        ({"key": "tier", "operator": "NotIn", "values": ["serving"]}, False),
        ({"key": "gpu", "operator": "NotIn", "values": ["none"]}, True),
        ({"key": "tier", "operator": "Exists"}, True),
        ({"key": "gpu", "operator": "DoesNotExist"}, True),
        ({"key": "gpu", "operator": "Exists"}, False),
    ],
    ids=lambda value: value["operator"] if isinstance(value, dict) else "",
)
def test_expressions_mean_what_kubernetes_means(expression, fits):
    assert matches(LabelSelector(match_expressions=(expression,)), {"tier": "serving"}) is fits


def test_an_empty_selector_matches_everything():
    assert matches(LabelSelector(), {})


def test_the_first_match_wins_and_the_rest_is_a_last_wave():
    waves = (Wave(name="first", clusters=("aws", "gcp")), Wave(name="second", clusters=("gcp", "azure")))
    assert waves_to_come(waves, {}, ("aws", "azure", "gcp", "ovh")) == (
        ("first", ("aws", "gcp")),
        ("second", ("azure",)),
        ("rest", ("ovh",)),
    )


def test_a_wave_without_clusters_takes_all_that_no_other_names_wherever_it_stands():
    waves = (Wave(name="most"), Wave(name="last", clusters=("gcp",)))
    assert waves_to_come(waves, {}, ("aws", "gcp")) == (("most", ("aws",)), ("last", ("gcp",)))


def test_who_joins_after_every_wave_has_started_gets_one_more():
    waves = (Wave(name="first", clusters=("aws",)), Wave(name="rest"))
    started = {"first": ("aws",), "rest": ("gcp",)}
    assert waves_to_come(waves, started, ("aws", "azure", "gcp")) == (("rest-2", ("azure",)),)


def test_a_wave_nobody_is_in_is_left_out():
    waves = (Wave(name="first", clusters=("gone",)), Wave(name="second", clusters=("aws",)))
    assert waves_to_come(waves, {}, ("aws",)) == (("second", ("aws",)),)
