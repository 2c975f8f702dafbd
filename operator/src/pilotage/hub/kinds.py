"""Our three kinds as the API server addresses them."""

from __future__ import annotations

from pilotage.api.names import GROUP, VERSION
from pilotage.kube import Resource

MODEL_DEPLOYMENTS = Resource(group=GROUP, version=VERSION, plural="modeldeployments", kind="ModelDeployment")
MODEL_REVISIONS = Resource(group=GROUP, version=VERSION, plural="modelrevisions", kind="ModelRevision")
MEMBER_CLUSTERS = Resource(
    group=GROUP, version=VERSION, plural="memberclusters", kind="MemberCluster", namespaced=False
)
KINDS = (MEMBER_CLUSTERS, MODEL_REVISIONS, MODEL_DEPLOYMENTS)
"""In the order in which a start wants them: members and revisions are known before a deployment is looked at."""
