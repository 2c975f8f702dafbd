"""What a pod is told about feedback: variables of its environment, read once, all mistakes at once.

The operator writes them (design §8); a server started by hand has the defaults. Paths are resolved under the pod's
root. Knows no file's content: keys, peers and credentials are read by their own modules.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pilotage_server.feedback.issuing import Shadow
from pilotage_server.podroot import pod_path

AUDIT_RATE: Final = "PILOTAGE_AUDIT_RATE"
SHADOW: Final = "PILOTAGE_SHADOW"
PEERS: Final = "PILOTAGE_FEEDBACK_PEERS"
CREDENTIALS: Final = "PILOTAGE_FEEDBACK_CREDENTIALS_DIR"
CREDENTIAL_LINES: Final = "PILOTAGE_FEEDBACK_CREDENTIALS"
RATE: Final = "PILOTAGE_FEEDBACK_RATE"
SEALED: Final = "PILOTAGE_SEALED_TOKENS"
DEFAULT_RATE: Final = 20_000.0


class FeedbackRefused(ValueError):
    """The feedback side cannot start like this; the text names each variable or file, its value and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackSettings:
    """A pod's feedback settings.

    `audit_rate`: share of requests picked for labelling. `sealed`: tokens that clients cannot read. `shadow`: its part
    in mirrored traffic. `peers`: other clusters' collectors, as a file or as the JSON itself. `credentials`: folder of
    bearer tokens, one file per identity; `credential_lines`: the same as lines of identity and token; neither:
    feedback is open. `rate`: items per second one identity may post to this pod.
    """

    audit_rate: float = 0.0
    sealed: bool = False
    shadow: Shadow = Shadow.NONE
    peers: Path | str | None = None
    credentials: Path | None = None
    credential_lines: str = field(default="", repr=False)
    rate: float = DEFAULT_RATE

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "FeedbackSettings":
        """Read the variables. Raises `FeedbackRefused`."""
        mistakes: list[str] = []
        shadow = env.get(SHADOW, "")
        if shadow not in set(Shadow):
            mistakes.append(f"{SHADOW}: {shadow!r}; write stable, canary, or leave it out")
        sealed = env.get(SEALED, "")
        if sealed not in ("", "true", "false"):
            mistakes.append(f"{SEALED}: {sealed!r} is neither true nor false")
        settings = cls(
            sealed=sealed == "true",
            audit_rate=_number(env, AUDIT_RATE, 0.0, high=1.0, mistakes=mistakes),
            shadow=Shadow(shadow) if shadow in set(Shadow) else Shadow.NONE,
            peers=env[PEERS] if env.get(PEERS, "").lstrip().startswith("{") else _path(env, PEERS),
            credentials=_path(env, CREDENTIALS),
            credential_lines=env.get(CREDENTIAL_LINES, ""),
            rate=_number(env, RATE, DEFAULT_RATE, high=1e9, mistakes=mistakes),
        )
        if CREDENTIAL_LINES in env and not settings.credential_lines.strip():
            mistakes.append(f"{CREDENTIAL_LINES}: is set and blank; write lines of identity and token, or leave it out")
        if settings.credentials and settings.credential_lines.strip():
            mistakes.append(f"{CREDENTIAL_LINES}: {CREDENTIALS} is given too; leave one of them out")
        if mistakes:
            raise FeedbackRefused("\n".join(mistakes))
        return settings


def _path(env: Mapping[str, str], name: str) -> Path | None:
    value = env.get(name, "")
    return pod_path(value, env) if value else None


def _number(env: Mapping[str, str], name: str, default: float, *, high: float, mistakes: list[str]) -> float:
    value = env.get(name, "")
    if not value:
        return default
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= high:
        mistakes.append(f"{name}: {value!r} is not a number from 0 to {high:g}")
        return default
    return number
