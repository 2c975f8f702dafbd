"""Conditions change only with meaning, and say nothing that is not in the closed list."""

from __future__ import annotations

import re
from dataclasses import replace

from pilotage.api.conditions import find, set_conditions
from pilotage.api.reasons import ConditionType, Reason, describe
from pilotage.api.types import Condition

PROMOTED = Condition(
    type="Promoted",
    status="False",
    reason="WaveStarted",
    message="wave first",
    observed_generation=1,
    last_transition_time=10.0,
)


def test_the_transition_time_stays_until_the_status_flips():
    said_again = replace(PROMOTED, reason="StepStarted", message="step 2", last_transition_time=20.0)
    flipped = replace(PROMOTED, status="True", last_transition_time=30.0)

    assert set_conditions([PROMOTED], [said_again])[0].last_transition_time == 10.0
    assert set_conditions([PROMOTED], [flipped])[0].last_transition_time == 30.0


def test_saying_the_same_again_changes_nothing():
    assert set_conditions([PROMOTED], [replace(PROMOTED, last_transition_time=99.0)]) == (PROMOTED,)


def test_conditions_keep_one_order_whoever_sets_them():
    available = replace(PROMOTED, type="Available")

    assert set_conditions([], [PROMOTED, available]) == set_conditions([], [available, PROMOTED])
    assert find(set_conditions([], [PROMOTED]), "Available") is None


def test_reasons_are_camel_case_and_each_explains_itself_in_a_sentence():
    for reason, description in describe():
        assert re.fullmatch(r"[A-Z][A-Za-z0-9]{2,62}", reason)
        assert description.endswith("."), reason
    assert len({reason.value for reason in Reason}) == len(list(Reason))


def test_condition_types_are_those_of_the_design():
    assert [kind.value for kind in ConditionType] == [
        "Available",
        "Promoted",
        "Progressing",
        "SpecValid",
        "MembersReachable",
        "MetricsAvailable",
        "Gated",
        "RollbackIncomplete",
        "Ready",
    ]
