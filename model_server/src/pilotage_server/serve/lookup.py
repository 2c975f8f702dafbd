"""Where one setting is found: flag, then environment, then default. Collects what is wrong with the values.

A value that a Service of Kubernetes brought along (`…_PORT=tcp://…`) is no value. Knows no setting by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pilotage_server.podroot import pod_path

PREFIX: Final = "PILOTAGE_SERVER_"


class Lookup:
    """Looks a setting up where it may stand, and collects what is wrong."""

    def __init__(self, flags: Mapping[str, str | None], env: Mapping[str, str]) -> None:
        self._flags = flags
        self._env = env
        self.mistakes: list[str] = []

    def _find(self, key: str, also: str = "") -> tuple[str, str | None]:
        """Give the name a value was found under, and the value.

        A Service's own `…_PORT=tcp://…` is no value.
        """
        flag = self._flags.get(key)
        if flag is not None:
            return f"--{key.lower().replace('_', '-')}", flag
        for name in (PREFIX + key, also):
            value = self._env.get(name)
            if value is not None and not value.startswith("tcp://"):
                return name, value
        return PREFIX + key, None

    def text(self, key: str, default: str) -> str:
        """Text, as it stands."""
        return self._find(key)[1] or default

    def path(self, key: str, *, also: str = "") -> Path | None:
        """A path, under the pod's root where there is one; also under the name `also`."""
        value = self._find(key, also)[1]
        return pod_path(value, self._env) if value else None

    def flag(self, key: str) -> bool:
        """A switch: true or false."""
        name, value = self._find(key)
        if value not in (None, "true", "false"):
            self.mistakes.append(f"{name}: {value!r} is neither true nor false")
        return value == "true"

    def whole(self, key: str, default: int, *, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        name, value = self._find(key)
        if value is None:
            return default
        if not re.fullmatch(r"-?\d{1,18}", value) or not low <= int(value) <= high:
            self.mistakes.append(f"{name}: {value!r} is not a whole number from {low} to {high}")
            return default
        return int(value)

    def optional(self, key: str, *, low: int, high: int) -> int | None:
        """A whole number, or None where none is given."""
        return None if self._find(key)[1] is None else self.whole(key, low, low=low, high=high)

    def seconds(self, key: str, default: float) -> float:
        """Seconds from 0 to 99999."""
        name, value = self._find(key)
        if value is None:
            return default
        if not re.fullmatch(r"\d{1,5}(\.\d{1,6})?", value):
            self.mistakes.append(f"{name}: {value!r} is not a number of seconds from 0 to 99999")
            return default
        return float(value)

    def share(self, key: str, default: float) -> float:
        """A share above 0 and up to 1."""
        name, value = self._find(key)
        if value is None:
            return default
        if not re.fullmatch(r"0|1|[01]?\.\d{1,9}", value) or not 0 < float(value) <= 1:
            self.mistakes.append(f"{name}: {value!r} is not a share above 0 and up to 1")
            return default
        return float(value)
