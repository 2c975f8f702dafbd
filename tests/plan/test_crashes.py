"""The operator dies before each of its writes, once per run: every run comes to the same end as one without a crash."""

from __future__ import annotations

import pytest

from support.members import Quality
from support.stories import TWO_WAVES, a_world_with_v1_stable, is_promoted
from support.world import World

DEPLOYMENT = TWO_WAVES.with_waves(all=None).with_label_delay("20s")
BAKING = DEPLOYMENT.with_rollout(bake={"duration": "2m", "holdback": 20})
GOOD, BAD = Quality(recall_yes=0.95), Quality(recall_yes=0.6)


def a_rollout(quality: Quality, *, crash_before: int | None = None) -> World:
    """v1 becomes stable, v2 follows; the last moment of either story."""
    world = World("aws")
    world.quality["v2"] = quality
    world.members["aws"].labels_per_s = 100
    world.crash_before = crash_before
    world.apply(DEPLOYMENT)
    world.run_until(lambda: world.condition("Promoted") == "True")
    world.run(600)
    world.apply(DEPLOYMENT.serving("v2"))
    world.run_until(lambda: is_promoted(world, "v2")() or world.status.phase == "Degraded")
    world.run(60)
    return world


def a_bake(in_it: Quality, *, crash_before: int | None = None) -> tuple[World, int]:
    """v2 passes and answers like this while it bakes; also the number of writes before the bake."""
    world = a_world_with_v1_stable("aws", deployment=DEPLOYMENT)
    world.quality["v2"] = GOOD
    world.members["aws"].labels_per_s = 100
    world.apply(BAKING.serving("v2"))
    world.run_until(lambda: world.status.step == "bake")
    before = world.writes
    world.quality["v2"] = in_it
    world.crash_before = crash_before
    world.run_until(lambda: is_promoted(world, "v2")() or world.status.phase == "Degraded")
    world.run(60)
    return world, before


def the_end(world: World) -> tuple[object, ...]:
    """What must be the same, whatever happened on the way."""
    status = world.status
    return (
        (status.phase, status.stable_revision, status.previous_revision, status.latched_revision),
        (world.rollout.name, world.rollout.outcome, [wave.clusters for wave in world.rollout.waves]),
        [(c.type, c.status, c.reason) for c in status.conditions if c.type != "MetricsAvailable"],
        [(entry.attempt, entry.outcome, entry.reason) for entry in world.revision("v2").status.history],
        [obj["said"] for obj in world.members["aws"].objects.values()],
    )


def labels_counted_and_given(world: World) -> tuple[int, float]:
    """Canary labels in the gate's denominator (half of all), and those that can have existed."""
    counted = world.revision("v2").status.evidence[0].gates[0].labels_canary
    assert world.rollout.decided_at is not None
    return counted, world.members["aws"].answered(world.name_of("v2"), world.rollout.decided_at) / 2


@pytest.mark.parametrize("quality", [GOOD, BAD], ids=["good", "bad"])
def test_a_crash_before_any_write_changes_nothing_in_the_end(quality):
    whole = a_rollout(quality)

    for write in range(1, whole.writes + 1):
        crashed = a_rollout(quality, crash_before=write)

        assert the_end(crashed) == the_end(whole), f"crashed before write {write}\n{crashed.trace}"
        assert crashed.hub_writes <= whole.hub_writes + 6, f"crashed before write {write}"
        counted, given = labels_counted_and_given(crashed)
        assert 20 < counted <= given, f"crashed before write {write}"


@pytest.mark.parametrize("in_it", [GOOD, BAD], ids=["stays-good", "turns-bad"])
def test_a_crash_before_any_write_of_a_bake_changes_nothing_in_the_end(in_it):
    whole, first = a_bake(in_it)
    assert whole.rollout.outcome == ("Promoted" if in_it is GOOD else "RolledBack")

    for write in range(first + 1, whole.writes + 1):
        crashed, _ = a_bake(in_it, crash_before=write)

        assert the_end(crashed) == the_end(whole), f"crashed before write {write}\n{crashed.trace}"
        assert crashed.hub_writes <= whole.hub_writes + 6, f"crashed before write {write}"
        counted, given = labels_counted_and_given(crashed)
        assert 20 < counted <= given, f"crashed before write {write}"
