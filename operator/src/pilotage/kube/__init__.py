"""The Kubernetes kit: a client, a cache, an elector. It knows neither models nor plans, and imports nothing
of ours.

Read in this order: `api` (the twelve verbs every cluster is spoken to with), `errors` (what can happen, by
what the caller does next), `endpoint` (which kubeconfigs are accepted), `client` (the verbs over the official
client), `watch` and `informer` and `store` (a cache that hears of everything), `subset` (is this intent
already there?), `lease` (who leads).

`ApiClient` is imported from `pilotage.kube.client`: the official package behind it takes a second to load,
and most users of this kit need only the types.
"""

from pilotage.kube.api import (
    Alive,
    Api,
    Deleted,
    Key,
    KeyListing,
    Listing,
    Manifest,
    Object,
    Propagation,
    Upserted,
    WatchEvent,
    version_of,
)
from pilotage.kube.clock import Clock, SystemClock
from pilotage.kube.errors import (
    AlreadyExists,
    ApiError,
    Cause,
    Conflict,
    EndpointRefused,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    LeadershipLost,
    NotFound,
    Oversized,
    Rejected,
    Throttled,
    Timeout,
    Transient,
    Unauthorized,
    Unavailable,
    Unreachable,
    Untrusted,
)
from pilotage.kube.resources import Resource
from pilotage.kube.subset import differences, is_subset, stamped

__all__ = [
    "Alive",
    "AlreadyExists",
    "Api",
    "ApiError",
    "Cause",
    "Clock",
    "Conflict",
    "Deleted",
    "EndpointRefused",
    "Forbidden",
    "Gone",
    "Invalid",
    "Key",
    "KeyListing",
    "KubeError",
    "LeadershipLost",
    "Listing",
    "Manifest",
    "NotFound",
    "Object",
    "Oversized",
    "Propagation",
    "Rejected",
    "Resource",
    "SystemClock",
    "Throttled",
    "Timeout",
    "Transient",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
    "Untrusted",
    "Upserted",
    "WatchEvent",
    "differences",
    "is_subset",
    "stamped",
    "version_of",
]
