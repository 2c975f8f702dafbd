"""The planner: what is observed in, what should be true out; pure.

`decide(observed, now)` reads a ModelDeployment, its revisions, every member's live objects and the answers to earlier
metric queries, and returns statuses to write, events, objects each member should have, and queries that are due. The
shell (`pilotage.engine`) gathers, writes the statuses, and only then acts: whatever happens between, the next decision
on what was written leads to the same end.

Start reading at `plan.decide`: its list of rules is the rollout semantics. Records are asked questions in `waves` and
`windows`, moved in `rollouts`, `progress`, `deadlines` and `verbs`; `questions` asks, `baselines` and `looks` turn
readings into verdicts; `traffic`, `manifests`, `pods` and `intents` turn records into objects; `summary`, `states`,
`waiting` and `places` into words.
"""

from pilotage.plan.decide import decide
from pilotage.plan.decision import Decision, Event, Intent
from pilotage.plan.observed import ClusterView, Fresh, Link, NotSynced, Observed, Refused, Unreachable

__all__ = [
    "ClusterView",
    "Decision",
    "Event",
    "Fresh",
    "Intent",
    "Link",
    "NotSynced",
    "Observed",
    "Refused",
    "Unreachable",
    "decide",
]
