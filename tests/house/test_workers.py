"""Tests that share clouds run on one worker. Where groups are lost in silence, every worker starts every cloud."""

import pytest

pytestmark = pytest.mark.xdist_group("house")


def test_a_group_is_part_of_what_workers_are_given_to_run(request: pytest.FixtureRequest) -> None:
    in_parallel = hasattr(request.config, "workerinput")

    assert request.node.nodeid.endswith("@house") is in_parallel
