"""The feedback keys of a cluster: a folder of files `k1` … `k255` with 32 random bytes each.

Every key verifies; the highest id signs. A key that appears while the process runs verifies at once but signs only
after `SETTLING_S`: other pods read the same Secret up to two minutes later, and must know a key before its first
token reaches them. Keys are never logged or printed. Knows neither tokens nor messages.
"""

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

KEY_BYTES: Final = 32
SETTLING_S: Final = 150.0
"""A kubelet refreshes a Secret volume within its sync period (60 s) plus the cache's age (60 s)."""
_KEY_FILE: Final = re.compile(r"k([1-9][0-9]{0,2})")
_BLOCK: Final = 64  # SHA-256's block, RFC 2104


class KeysRefused(Exception):
    """The key folder cannot be used; the text names file, rule and remedy, never a byte of a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """HMAC-SHA256 under one key, with both pads hashed beforehand: 0.6 µs instead of 2.6 µs a message."""

    kid: int
    _inner: Any = field(repr=False)
    _outer: Any = field(repr=False)

    @classmethod
    def of(cls, kid: int, secret: bytes) -> "Key":
        """The key with this id; `secret` is at most one block long, so RFC 2104 pads and never hashes it."""
        padded = secret.ljust(_BLOCK, b"\0")
        inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))
        return cls(kid=kid, _inner=inner, _outer=outer)

    def mac(self, message: bytes) -> bytes:
        """HMAC-SHA256 of the message, 32 bytes."""
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        digest: bytes = outer.digest()
        return digest


class KeyRing:
    """The live keys by id. `refresh` re-reads the folder and keeps the old keys when the new ones are refused."""

    def __init__(self, directory: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Read the folder. Raises `KeysRefused` when it holds no usable key."""
        self._directory = directory
        self._monotonic = monotonic
        self._secrets = _read(directory)
        self._keys = {kid: Key.of(kid, secret) for kid, secret in self._secrets.items()}
        self._settled = set(self._secrets)
        self._seen_at: dict[int, float] = {}
        self.signing = self._keys[max(self._settled)]

    def get(self, kid: int) -> Key | None:
        """The key with this id, or None."""
        return self._keys.get(kid)

    @property
    def kids(self) -> frozenset[int]:
        """The ids of all live keys."""
        return frozenset(self._keys)

    def refresh(self) -> bool:
        """Re-read the folder; true when keys came, went or changed. Raises `KeysRefused`, keeping the old keys."""
        secrets = _read(self._directory)
        changed = secrets != self._secrets
        if changed:
            fresh = {kid for kid, secret in secrets.items() if self._secrets.get(kid) != secret}
            self._keys = {kid: Key.of(kid, secret) for kid, secret in secrets.items()}
            self._secrets = secrets
            self._settled = (self._settled & secrets.keys()) - fresh
            self._seen_at = {kid: at for kid, at in self._seen_at.items() if kid in secrets}
            self._seen_at.update(dict.fromkeys(fresh, self._monotonic()))
        self._settle()
        return changed

    def _settle(self) -> None:
        now = self._monotonic()
        self._settled |= {kid for kid, at in self._seen_at.items() if now - at >= SETTLING_S}
        # With every known key gone there is nothing to wait for: the new ones are all there is.
        self.signing = self._keys[max(self._settled or self._keys)]


def _read(directory: Path) -> dict[int, bytes]:
    try:
        names = sorted(entry.name for entry in directory.iterdir() if not entry.name.startswith("."))
        found = {name: (directory / name).read_bytes() for name in names}
    except OSError as error:
        raise KeysRefused(
            f"{directory}: cannot read the feedback keys ({error.strerror}); "
            "mount the Secret pilotage-feedback-key, which the chart pilotage-member makes"
        ) from error
    secrets: dict[int, bytes] = {}
    for name, secret in found.items():
        match = _KEY_FILE.fullmatch(name)
        if match is None or int(match[1]) > 255:
            raise KeysRefused(f"{directory / name}: not a key id; name feedback keys k1 to k255")
        if len(secret) != KEY_BYTES:
            raise KeysRefused(
                f"{directory / name}: {len(secret)} bytes; a feedback key is {KEY_BYTES} raw random bytes"
            )
        secrets[int(match[1])] = secret
    if not secrets:
        raise KeysRefused(f"{directory}: no feedback key; put 32 random bytes under k1 in pilotage-feedback-key")
    return secrets
