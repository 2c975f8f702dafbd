"""Every reason a condition or an event may carry: a closed list, with what each means and what to do about it.

The descriptions are what `docs/reasons.md` is generated from. Adding one here is adding a word to the public contract.
"""

from __future__ import annotations

from enum import StrEnum


class ConditionType(StrEnum):
    """Conditions of a ModelDeployment; `READY` is the one of a MemberCluster."""

    AVAILABLE = "Available"
    PROMOTED = "Promoted"
    PROGRESSING = "Progressing"
    SPEC_VALID = "SpecValid"
    MEMBERS_REACHABLE = "MembersReachable"
    METRICS_AVAILABLE = "MetricsAvailable"
    GATED = "Gated"
    ROLLBACK_INCOMPLETE = "RollbackIncomplete"
    READY = "Ready"


class Reason(StrEnum):
    """Reasons of conditions and events."""

    description: str

    def __new__(cls, value: str, description: str = "") -> Reason:
        """A string with its explanation beside it."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member

    # Nothing wrong
    AS_EXPECTED = "AsExpected", "Nothing to report."
    SERVING = "Serving", "Ready pods of the stable revision serve in every placed cluster."
    PROMOTED = "Promoted", "The spec's revision is the stable one in every placed cluster."
    NO_GATES = "NoGates", "The spec has no gates: steps end on readiness and pauses alone."
    GATED = "Gated", "Every gate decides with counted labels."

    # A rollout on its way
    ROLLOUT_STARTED = "RolloutStarted", "A rollout of a new revision began."
    FIRST_DEPLOYMENT = (
        "FirstDeployment",
        "There is no stable revision yet: waves advance on readiness, ungated.",
    )
    WAVE_STARTED = "WaveStarted", "A wave of clusters began to take the revision."
    STEP_STARTED = "StepStarted", "A canary weight was asked for."
    STEP_OBSERVED = "StepObserved", "The weight is in effect in every cluster of the wave."
    STEP_COMPLETED = "StepCompleted", "The step's labels, pause and verdict let the rollout go on."
    GATE_PASSED = "GatePassed", "Every gate of the wave passed; the event has the figures."
    WAVE_PASSED = "WavePassed", "The wave's clusters serve the new revision fully."
    BAKING = "Baking", "The revision serves fully everywhere and is watched on; stable is kept until the bake ends."
    WAITING_FOR_PODS = "WaitingForPods", "Pods of the revision are not ready yet."
    WAITING_FOR_WEIGHT = "WaitingForWeight", "The traffic weight asked for is not in effect yet."
    WAITING_FOR_LABELS = "WaitingForLabels", "Not enough labels have matured; check that feedback is posted."
    WAITING_FOR_EVIDENCE = "WaitingForEvidence", "Enough labels, no decision yet."
    WAITING_FOR_PASS = "WaitingForPass", "The step has `require: Pass`: it ends once every blocking gate passes."
    WAITING_FOR_BASELINE = (
        "WaitingForBaseline",
        "The wave starts once its clusters' recent traffic has been read.",
    )
    WAITING_FOR_MEMBER = (
        "WaitingForMember",
        "A member of the wave cannot be reached; its deadlines stand still.",
    )
    PAUSED = "Paused", "spec.paused is true; nothing new starts."
    STEP_PAUSED = "StepPaused", "The step pauses, for its time or until `pilotage promote`."
    PROMOTE_REQUESTED = "PromoteRequested", "A person ended a step's pause."
    PROMOTED_FULL = "PromotedFull", "A person promoted without the gates; recorded as ungated."
    RETRIED = "Retried", "A person asked for another attempt of the latched revision."
    RESUMED = "Resumed", "The pause was lifted."
    INSUFFICIENT_DATA = "InsufficientData", "The deadline passed without enough labels."
    INCONCLUSIVE = "Inconclusive", "The deadline passed undecided."
    HELD = "Held", "A deadline passed with Hold: evidence goes on, a Pass still promotes."
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded", "Pods did not get ready within progressDeadline."

    # What the guarantee rests on (docs/gate.md): while it does not hold, nothing passes
    LABELS_LATE = (
        "LabelsLate",
        "More than 5 % of the labels come after labelDelay; raise it to the delay that the message names.",
    )
    COVERAGE_DIFFERS = (
        "CoverageDiffers",
        "The arms' predictions are not labelled alike; label both arms, or ask for `labels: audit`.",
    )
    COVERAGE_BY_PREDICTION = (
        "CoverageByPrediction",
        "Some predicted classes are labelled more than others; label at random, or ask for `labels: audit`.",
    )
    CLASS_ABSENT = "ClassAbsent", "One arm has no label of a class that the other arm meets; look for lost labels."
    SPLIT_DIFFERS = (
        "SplitDiffers",
        "The arms do not serve the shares that were asked for; look for clients that stick to one arm.",
    )
    INPUTS_DIFFER = (
        "InputsDiffer",
        "The arms do not get the same kind of requests; look for routing by header or sticky clients.",
    )
    PREVALENCE_SHIFTED = (
        "PrevalenceShifted",
        "Classes are not as frequent as before, and a floor holds or breaks by that alone; ask for a margin.",
    )
    EVIDENCE_UNSOUND = "EvidenceUnsound", "Another condition of the guarantee does not hold; the message says which."
    MARGIN_UNPROVABLE = (
        "MarginUnprovable",
        "At the label rate seen, the margin asked for cannot be proved by the deadline; the message has one that can.",
    )

    # A rollout that ends
    GATE_FAILED = "GateFailed", "A gate's fail evidence reached 1/beta."
    ROLLED_BACK = (
        "RolledBack",
        "The revision was taken back everywhere; another revision or `pilotage retry` goes on.",
    )
    ABORTED = "Aborted", "A person aborted the rollout."
    EXPIRED = "Expired", "A deadline with Rollback passed."
    SUPERSEDED = "Superseded", "The spec changed during the rollout."
    RETURNED_TO_STABLE = "ReturnedToStable", "The spec names the stable revision again."
    ROLLING_BACK = "RollingBack", "Clusters that took the revision return to stable."
    STABLE_UNAVAILABLE = (
        "StableUnavailable",
        "Stable has no ready pod: the canary goes on serving what it serves.",
    )
    CLUSTERS_PENDING = "ClustersPending", "Some clusters could not be rolled back yet."

    # Spec
    INVALID_SPEC = "InvalidSpec", "The spec cannot be used; the message names field, value and remedy."
    UNKNOWN_CLASS = "UnknownClass", "A gate names a class the model does not have."
    UNKNOWN_METRIC = "UnknownMetric", "A gate names a metric this version does not know."
    NO_CLUSTER_MATCHES = "NoClusterMatches", "placement.clusterSelector selects no MemberCluster."
    GATEWAY_MISSING = "GatewayMissing", "traffic.mode is Gateway but the MemberCluster names no gateway."
    ROUTE_NOT_ACCEPTED = "RouteNotAccepted", "The cluster's gateway did not accept the HTTPRoute."

    # Pods
    BUNDLE_UNAVAILABLE = "BundleUnavailable", "The bundle could not be pulled or its digest does not match."
    BUNDLE_REFUSED = (
        "BundleRefused",
        "The server refused the bundle (signature, digest, self-test); its words follow.",
    )
    IMAGE_UNAVAILABLE = "ImageUnavailable", "The server image could not be pulled."
    MEMBER_SECRET_MISSING = (
        "MemberSecretMissing",
        "A pod waits for a Secret or ConfigMap of chart pilotage-member or of spec.feedback, in the member.",
    )
    PODS_FAILING = "PodsFailing", "Pods of the revision crash or do not get ready."
    PODS_UNAVAILABLE = "PodsUnavailable", "No ready pod of the stable revision."

    # Members
    UNREACHABLE = "Unreachable", "The member's API server does not answer."
    CONNECTING = "Connecting", "The member's caches are being filled."
    CLUSTER_REMOVED = "ClusterRemoved", "The MemberCluster object is gone; its objects go on serving."
    SECRET_NOT_FOUND = "SecretNotFound", "The kubeconfig Secret is not in the operator's namespace."
    KEY_NOT_FOUND = "KeyNotFound", "The Secret lacks the key; the message names the keys it has."
    KUBECONFIG_REFUSED = (
        "KubeconfigRefused",
        "The kubeconfig is unsafe or unusable; the message says which part.",
    )
    UNAUTHORIZED = "Unauthorized", "The member does not accept the credential."
    FORBIDDEN = "Forbidden", "The credential lacks a right; install chart pilotage-member in the namespace."
    DUPLICATE_CLUSTER = "DuplicateCluster", "Two MemberClusters lead to the same cluster."
    IDENTITY_CHANGED = "IdentityChanged", "The credential leads to another cluster than before."
    CLOCK_SKEW = "ClockSkew", "The member's clock differs from ours by more than 30 s."
    NAME_TAKEN = "NameTaken", "An object of the name we need exists and is not ours; nothing is written."
    APPLY_REFUSED = "ApplyRefused", "The member's API server refused an object; its words follow."
    UNCLAIMED = "Unclaimed", "Objects with our label that no live object explains; left serving."
    CONNECTED = "Connected", "The member answers and its credential works."

    # Metrics
    PROMETHEUS_MISSING = "PrometheusMissing", "The MemberCluster names no Prometheus; gates cannot count."
    PROMETHEUS_UNREACHABLE = "PrometheusUnreachable", "Prometheus does not answer at the address given."
    PROMETHEUS_REFUSED = "PrometheusRefused", "Prometheus answered with an error; its words follow."
    COUNTERS_MISSING = (
        "CountersMissing",
        "The collector's counters are not in Prometheus; check that its pod is scraped.",
    )
    COUNTERS_INCONSISTENT = (
        "CountersInconsistent",
        "A counter fell, a gap or a changed past: the block is read again.",
    )
    LABEL_DELAY_MISMATCH = "LabelDelayMismatch", "The collector does not use the spec's labelDelay yet."
    NO_QUERY_DUE = "NoQueryDue", "Nothing has been asked of Prometheus yet."


def describe() -> tuple[tuple[str, str], ...]:
    """All reasons with their descriptions, in order: the source of docs/reasons.md."""
    return tuple((reason.value, reason.description) for reason in Reason)
