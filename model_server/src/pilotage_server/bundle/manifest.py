"""The manifest as values: what a bundle holds and promises.

`reading` makes them of JSON and refuses what contradicts itself, `writing` makes canonical JSON of them. Knows neither
files nor keys nor backends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NewType

from pilotage_server.bundle.decision import Decision
from pilotage_server.quality.reference import FeatureBins
from pilotage_server.quality.slices import Slice

FORMAT = 1
MANIFEST = "manifest.json"
SIGNATURE = "signature"
CARD = "model_card.md"
REPORT = "report.html"
NAME = r"[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?"
MAX_CLASSES = 1_000
MAX_FEATURES = 100_000
MAX_CATEGORIES = 1_000
MAX_TEXT = 1_024
"""Characters of a category."""
SLICE_NAME = r"[A-Za-z_][A-Za-z0-9_.-]{0,62}"

Sha256 = NewType("Sha256", str)
"""A SHA-256 as 64 hexadecimal digits, without a prefix."""


def sha256(content: bytes) -> Sha256:
    """Digest of bytes, as written in manifests."""
    return Sha256(hashlib.sha256(content).hexdigest())


class BackendKind(StrEnum):
    """What computes probabilities: chosen at training by the parity gate."""

    ONNX_F64 = "onnx-f64"
    ONNX_F32 = "onnx-f32"
    SKLEARN = "sklearn"


class ClassType(StrEnum):
    """How classes travel in answers: BYTES or INT64."""

    STRING = "string"
    INTEGER = "integer"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of the bundle: its size in bytes and its digest."""

    name: str
    size: int
    sha256: Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One input column.

    `low` and `high` are the range seen in training, for people and for drift, not a limit. A column of texts stands as
    codes: places in `categories`, the texts training knew; empty for numbers. `missing`: a value may be missing (NaN),
    since training had gaps there and the model fills or handles them. `takes_unknown`: a text that is no category
    counts as missing instead of being refused.
    """

    name: str
    low: float
    high: float
    categories: tuple[str, ...] = ()
    missing: bool = False
    takes_unknown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """Rows every server must reproduce before it is ready.

    |Δp| ≤ tolerance in every cell, and equal decisions. None is a missing value.
    """

    rows: tuple[tuple[float | None, ...], ...]
    probabilities: tuple[tuple[float, ...], ...]
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything a server needs to know about a bundle. Class order is the order of probability columns.

    `abstain_below`: a decided class less probable than that is answered as "abstain" where `decision` is asked for.
    """

    name: str
    version: str
    description: str = ""
    classes: tuple[str, ...]
    class_type: ClassType
    features: tuple[Feature, ...]
    backend: BackendKind
    model_file: str
    decision: Decision
    abstain_below: float = 0.0
    golden: Golden
    files: tuple[FileEntry, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    baseline: Mapping[str, Any] = field(default_factory=dict)
    reference: tuple[FeatureBins, ...] = ()
    slices: tuple[Slice, ...] = ()
