"""The closed sets of local clouds: components, and the mark every process of an instance carries.

Knows no paths, no processes, no addresses.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

INSTANCE_MARK: Final = "PILOTAGE_CLOUDS_INSTANCE"
"""Environment variable with the instance id, inherited by everything a cloud runs; the sweep finds it."""

DEFAULT_CLOUDS: Final = ("hub", "aws", "gcp", "azure")


class Component(StrEnum):
    """One supervised process of a cloud, named as its program is."""

    ETCD = "etcd"
    API_SERVER = "kube-apiserver"
    CONTROLLER_MANAGER = "kube-controller-manager"
    SCHEDULER = "kube-scheduler"
    PROMETHEUS = "prometheus"
    NODE = "node"
    GATEWAY = "gateway"
    FRONT = "front"


ALL_COMPONENTS: Final = tuple(Component)
CONTROL_PLANE: Final = (Component.ETCD, Component.API_SERVER)
"""Enough to store objects: no controllers, no pods. Up in about two seconds."""

HUB: Final = "hub"
HUB_COMPONENTS: Final = tuple(component for component in Component if component is not Component.GATEWAY)
"""The hub serves no models, so it has no ingress, and no Gateway API to slow its start."""

WITH_CONTROLLERS: Final = (*CONTROL_PLANE, Component.CONTROLLER_MANAGER, Component.SCHEDULER)
"""Objects, ServiceAccounts, garbage collection, Deployments and their unstarted pods."""
