"""Where a mount path really lies when the pod has no mount namespace of its own.

A node agent that runs pods as plain processes cannot mount anything: it sets `PILOTAGE_POD_ROOT` and lays the
volumes out below that folder. Everything that takes a mount path resolves it here, and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

POD_ROOT = "PILOTAGE_POD_ROOT"


def pod_path(path: str | Path, env: Mapping[str, str] = os.environ) -> Path:
    """Give the place of an absolute mount path under the pod's root.

    Other paths, and paths already there, as is.
    """
    plain = Path(path)
    root = env.get(POD_ROOT)
    if not root or not plain.is_absolute() or plain.is_relative_to(root):
        return plain
    return Path(root) / plain.relative_to("/")
