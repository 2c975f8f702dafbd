"""The traffic's split against the share that the mode can realise, when the caller says which.

Per cluster: served rows of both arms, the canary's among them, and how many the block's ``expected`` share promised.
Servers close a connection after 100 requests, and a connection stays with one arm: so 100 rows count as one. A breach
needs level .001 and a share that is off by a fifth of itself and two points. A wrong split does no harm by itself; it
says that something else than chance assigns requests. Where no share is expected nothing is said: within a step an
autoscaler or a restart moves the split for good reasons, and the evidence does not mind. Knows no label.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pilotage.gate.blocks import NOTHING, Block
from pilotage.gate.conditions.alike import NONE, SURE, Draws, log_mean
from pilotage.gate.conditions.breach import Breach, Condition, breach
from pilotage.gate.packing import pack, unpack
from pilotage.gate.spec import GateSpec

CLUMP: Final = 100.0
_OF_ITSELF: Final = 0.2
_POINTS: Final = 0.02

Assignment = Mapping[str, Draws]
"""Per cluster: rows of both arms, the canary's, those expected."""


def absorbed(memory: Assignment, block: Block) -> Assignment:
    """The rows of clusters whose expected share is told."""
    grown = dict(memory)
    for name, share in block.expected.items():
        arms = block.clusters.get(name, {})
        canary, stable = (arms.get(arm, NOTHING).served_rows for arm in ("canary", "stable"))
        news = Draws(trials=canary + stable, hits=canary, expected=(canary + stable) * share)
        if news.trials:
            grown[name] = grown.get(name, NONE) + news
    return grown


def breaches(memory: Assignment, gates: Sequence[GateSpec]) -> list[Breach]:
    """At most one, of the cluster that is surest."""
    if not memory or log_mean(draws.log_e(CLUMP) for draws in memory.values()) < SURE:
        return []
    name, draws = max(memory.items(), key=lambda item: item[1].log_e(CLUMP))
    if abs(draws.hits - draws.expected) <= max(_OF_ITSELF * draws.expected, _POINTS * draws.trials):
        return []
    reason = (
        f"the canary in {name} served {draws.rate:.1%} of {draws.trials} rows, where "
        f"{draws.expected / draws.trials:.1%} was to be expected; "
        "look for clients that stick to one arm, unready pods, or requests that never arrive"
    )
    return [breach(Condition.SPLIT_DIFFERS, reason, gates)]


def encode(memory: Assignment, clusters: Sequence[str]) -> Any:
    """JSON: three numbers a cluster, packed; nothing while nothing was told."""
    return pack([n for name in clusters for n in memory.get(name, NONE).to_list()]) if memory else ""


def decode(raw: Any, clusters: Sequence[str]) -> Assignment:
    """What ``encode`` wrote."""
    numbers = unpack(raw) if raw else ()
    found = {name: Draws.from_list(numbers[3 * at : 3 * at + 3]) for at, name in enumerate(clusters) if numbers}
    return {name: draws for name, draws in found.items() if draws.trials}
