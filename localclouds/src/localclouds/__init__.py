"""Real Kubernetes control planes on loopback, one per cloud, owned by the process that started them.

    from localclouds import CONTROL_PLANE, Clouds

    with Clouds("build/clouds", names=["hub", "aws"]) as clouds:      # or Clouds.attach("build/clouds")
        clouds.kubeconfig                   # contexts hub and aws
        clouds["aws"].prometheus_url
        with clouds["aws"].paused("kube-apiserver"):
            ...
        with clouds["aws"].cut_off():
            ...

Per cloud: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, Prometheus, a node agent that runs pods as
local processes, a gateway (not on the hub), and a front that outsiders connect through.
`components=CONTROL_PLANE` starts the first two only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from localclouds.cloud import Cloud
    from localclouds.clouds import Clouds
    from localclouds.errors import (
        AlreadyRunning,
        BuildFailed,
        CloudsError,
        HelmFailed,
        NotRunning,
        StartFailed,
        UnknownName,
    )
    from localclouds.names import ALL_COMPONENTS, CONTROL_PLANE, DEFAULT_CLOUDS, WITH_CONTROLLERS, Component

__all__ = [
    "ALL_COMPONENTS",
    "CONTROL_PLANE",
    "DEFAULT_CLOUDS",
    "WITH_CONTROLLERS",
    "AlreadyRunning",
    "BuildFailed",
    "Cloud",
    "Clouds",
    "CloudsError",
    "Component",
    "HelmFailed",
    "NotRunning",
    "StartFailed",
    "UnknownName",
]

_HOMES = {
    "Cloud": "cloud",
    "Clouds": "clouds",
    **dict.fromkeys(
        (
            "AlreadyRunning",
            "BuildFailed",
            "CloudsError",
            "HelmFailed",
            "NotRunning",
            "StartFailed",
            "UnknownName",
        ),
        "errors",
    ),
    **dict.fromkeys(("ALL_COMPONENTS", "CONTROL_PLANE", "DEFAULT_CLOUDS", "WITH_CONTROLLERS", "Component"), "names"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used.

    Every part of every cloud is a process that imports this package first; what only the owner of an instance needs
    (HTTP, cryptography, YAML) would be half of their start.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
