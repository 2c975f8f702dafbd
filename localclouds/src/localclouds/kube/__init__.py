"""The Kubernetes API as the node agent and the gateway need it: raw JSON, and caches that follow it.

Knows API servers, objects and Services' endpoints; knows nothing of processes, proxies or models. Only what
two programs share is here: `Api` (one request, one answer), `Reflector` (list and watch into a dictionary),
and pure readings of pods and Services.
"""

from localclouds.kube.client import Api, ApiFailure, Conflict, Gone, NotFound, Refused, Unreachable
from localclouds.kube.endpoints import Endpoint, NoSuchPort, ready_endpoints, service_port
from localclouds.kube.objects import Json, Key, is_ready, is_terminating, key_of, parse_time, selects
from localclouds.kube.reflector import Backoff, Reflector

__all__ = [
    "Api",
    "ApiFailure",
    "Backoff",
    "Conflict",
    "Endpoint",
    "Gone",
    "Json",
    "Key",
    "NoSuchPort",
    "NotFound",
    "Reflector",
    "Refused",
    "Unreachable",
    "is_ready",
    "is_terminating",
    "key_of",
    "parse_time",
    "ready_endpoints",
    "selects",
    "service_port",
]
