"""Who vouches for a bundle: ed25519 over the manifest's bytes, checked against the public keys the cluster
trusts.

The signature file is one line of JSON with algorithm, key id and signature; the key id (first 16 digits of
the SHA-256 of the raw public key) only serves the message when no trusted key fits: it is never trusted
itself.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from pilotage_server.bundle.errors import Refused
from pilotage_server.bundle.manifest import SIGNATURE, sha256
from pilotage_server.bundle.writing import canonical

ALGORITHM = "ed25519"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKeys:
    """The public keys a bundle may be signed with, by the name of their file without `.pub`."""

    keys: Mapping[str, Ed25519PublicKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnySigner:
    """No signature is asked for: for experiments by hand, chosen in so many words."""


Trust = TrustedKeys | AnySigner


def key_id(public: Ed25519PublicKey) -> str:
    """Short name of a public key, for messages."""
    return sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw))[:16]


def read_trusted_keys(folder: Path) -> TrustedKeys:
    """Read every `*.pub` (PEM) of a folder; raises `Refused` if there is none or one is no ed25519 key."""
    if folder.is_file():
        raise Refused(str(folder), "is a file", "name the folder that holds your signers' *.pub files")
    files = sorted(path for path in folder.glob("*.pub") if path.is_file()) if folder.is_dir() else []
    if not files:
        raise Refused(
            str(folder),
            "holds no *.pub file",
            "put the public keys of your signers into ConfigMap pilotage-bundle-keys",
        )
    return TrustedKeys(keys={path.stem: _public_key(path) for path in files})


def _public_key(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm, OSError) as error:
        raise Refused(path.name, f"is not a PEM public key ({error})", "write it with pilotage-model keygen") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Refused(path.name, "is not an ed25519 key", "write one with pilotage-model keygen")
    return key


def read_signing_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key in PEM; raises `Refused` if it is no ed25519 key."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Refused(
            str(path), f"cannot be read ({error.strerror})", "make a key with pilotage-model keygen"
        ) from error
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Refused(
            str(path), f"is not a PEM private key ({error})", "write one with pilotage-model keygen"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Refused(str(path), "is not an ed25519 key", "write one with pilotage-model keygen")
    return key


def new_key_pair() -> tuple[bytes, bytes]:
    """Make a key pair: private key (PKCS8 PEM) and public key (PEM)."""
    private = Ed25519PrivateKey.generate()
    return (
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


def sign(manifest: bytes, key: Ed25519PrivateKey) -> bytes:
    """Content of the signature file for a manifest; equal input gives equal bytes (RFC 8032)."""
    return canonical(
        {
            "algorithm": ALGORITHM,
            "keyId": key_id(key.public_key()),
            "signature": base64.b64encode(key.sign(manifest)).decode(),
        }
    )


def verify(manifest: bytes, signature: bytes | None, trust: Trust) -> str:
    """Give the name of the key that signed a manifest ('' when none is asked for), or raise `Refused`."""
    match trust:
        case AnySigner():
            return ""
        case TrustedKeys(keys=keys):
            if signature is None:
                raise Refused(
                    SIGNATURE,
                    "the bundle is not signed",
                    "train it with pilotage-model train --signing-key FILE",
                )
            claimed, raw = _parse(signature)
            for name, key in keys.items():
                try:
                    key.verify(raw, manifest)
                except InvalidSignature:
                    continue
                return name
            raise Refused(SIGNATURE, _mismatch(claimed, keys), _REMEDY)


_REMEDY = "sign it with a trusted key, or add the signer's public key to ConfigMap pilotage-bundle-keys"


def _mismatch(claimed: str, keys: Mapping[str, Ed25519PublicKey]) -> str:
    """Tell a foreign signer from a manifest that was changed after a trusted key signed it."""
    for name, key in keys.items():
        if key_id(key) == claimed:
            return f"does not fit manifest.json, although it names trusted key {name!r}: one of them was changed"
    return f"made with key {claimed}, which is none of the trusted keys ({', '.join(sorted(keys))})"


def _parse(signature: bytes) -> tuple[str, bytes]:
    remedy = "train the bundle again with --signing-key"
    try:
        parsed = json.loads(signature)
        algorithm, claimed, text = parsed["algorithm"], parsed["keyId"], parsed["signature"]
        raw = base64.b64decode(text, validate=True)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(SIGNATURE, "is not a signature file", remedy) from error
    if algorithm != ALGORITHM or not isinstance(claimed, str) or len(raw) != 64:
        raise Refused(SIGNATURE, f"is not an {ALGORITHM} signature", remedy)
    return claimed[:64], raw
