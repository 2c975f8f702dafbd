"""One Helm action through the SDK of helm-python-sdk: the order as JSON on stdin, the result on stdout.

Run by localclouds.helm as `python -m localclouds.helm_worker`. Exit 1 with Helm's own text on stderr when it refuses.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from helm_python import Chart, Config, HelmError


def act(order: dict[str, Any]) -> str:
    """Carry out one order; the text is what `helm template` would print, else empty."""
    if order["do"] == "template":
        return _template(order)
    with Config(
        kubeconfig_path=order["kubeconfig"], kube_context=order["context"], namespace=order["namespace"]
    ) as config:
        match order["do"]:
            case "install":
                config.install(
                    order["chart"], order["release"], order["values"], create_namespace=True, **_waiting(order)
                )
            case "upgrade":
                config.upgrade(order["chart"], order["release"], order["values"], **_waiting(order))
            case "uninstall":
                config.uninstall(order["release"], timeout=order["timeout_s"], wait="watcher")
            case unknown:
                raise ValueError(f"unknown Helm action {unknown}")
    return ""


def _waiting(order: dict[str, Any]) -> dict[str, Any]:
    return {"wait": "watcher" if order["wait"] else "hookOnly", "timeout": order["timeout_s"]}


def _template(order: dict[str, Any]) -> str:
    with Chart.load(order["chart"]) as chart:
        chart.validate_schema(order["values"])
        manifests = chart.render(order["values"], name=order["release"], namespace=order["namespace"])
    parts = [
        f"---\n# Source: {path}\n{text.strip()}\n"
        for path, text in sorted(manifests.items())
        if text.strip() and not path.endswith("NOTES.txt")
    ]
    return "".join(parts)


def main() -> int:
    """Read the order, act, print."""
    try:
        sys.stdout.write(act(json.load(sys.stdin)))
    except HelmError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
