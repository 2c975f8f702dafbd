"""JSON into a manifest, strictly: unknown or missing fields, and values that contradict each other, are refused with
their paths, all at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from pilotage_server.bundle.decision import Argmax, Decision, LeastCost, Threshold
from pilotage_server.bundle.errors import Refused
from pilotage_server.bundle.manifest import (
    FORMAT,
    MANIFEST,
    MAX_CATEGORIES,
    MAX_CLASSES,
    MAX_FEATURES,
    MAX_TEXT,
    NAME,
    SIGNATURE,
    SLICE_NAME,
    BackendKind,
    ClassType,
    Feature,
    FileEntry,
    Golden,
    Manifest,
    Sha256,
)
from pilotage_server.document import Document, Malformed, Section
from pilotage_server.quality.reference import MAX_BINS, FeatureBins
from pilotage_server.quality.slices import MAX_SLICES, MAX_VALUES, Slice


def decode(content: bytes) -> Manifest:
    """Read a manifest; raises `Refused` with the path and rule of everything that is wrong with it."""
    remedy = "train or export the bundle again with a matching version of pilotage-model"
    try:
        document = Document(json.loads(content))
        manifest = _read(document.root)
        document.finish()
    except Malformed as malformed:
        raise Refused(MANIFEST, str(malformed), remedy) from malformed
    except (ValueError, RecursionError) as error:
        raise Refused(MANIFEST, f"is not JSON ({error})", remedy) from error
    return manifest


def _read(root: Section) -> Manifest:
    if root.integer("format", low=1, high=10_000) != FORMAT:
        root.mistake("format", f"this server reads format {FORMAT} only")
    root.choice("task", ("classification",))
    classes = _texts(root, "classes", longest=MAX_CLASSES)
    if len(classes) < 2:
        root.mistake("classes", f"{len(classes)} classes; a classifier has at least 2")
    class_type = ClassType(root.choice("classType", tuple(ClassType)))
    if class_type is ClassType.INTEGER and not all(_is_int64(text) for text in classes):
        root.mistake("classes", "classType is integer, but not every class is a whole number of 64 bits")
    features = tuple(_feature(section) for section in root.sections("features", longest=MAX_FEATURES))
    if not features or len({f.name for f in features}) < len(features):
        root.mistake("features", "empty, or a name occurs twice")
    backend, decision = root.section("backend"), root.section("decision")
    files = _files(root)
    model_file = backend.text("file", longest=128)
    if model_file not in {entry.name for entry in files}:
        backend.mistake("file", f"{model_file!r} is not among the files of the bundle")
    return Manifest(
        name=root.text("name", pattern=NAME),
        version=root.text("version", longest=64),
        description=root.text("description", longest=4096),
        classes=classes,
        class_type=class_type,
        features=features,
        backend=BackendKind(backend.choice("kind", tuple(BackendKind))),
        model_file=model_file,
        decision=_decision(decision, classes),
        abstain_below=decision.number("abstainBelow", 0.0, low=0.0, high=1.0),
        golden=_golden(root.section("golden"), features, len(classes)),
        files=files,
        versions=MappingProxyType(dict(root.section("versions").plain())),
        data=MappingProxyType(dict(root.section("data").plain())),
        training=MappingProxyType(dict(root.section("training").plain())),
        baseline=MappingProxyType(dict(root.section("baseline").plain())),
        reference=_reference(root, {feature.name: feature.categories for feature in features}),
        slices=_slices(root),
    )


def _feature(section: Section) -> Feature:
    categories: tuple[str, ...] = ()
    if "categories" in section:
        categories = _texts(section, "categories", longest=MAX_CATEGORIES, characters=MAX_TEXT)
    missing = section.flag("missing", False)
    takes_unknown = section.choice("unknown", ("refuse", "missing"), "refuse") == "missing"
    if takes_unknown and not (categories and missing):
        section.mistake("unknown", "texts count as missing only where there are categories and gaps are allowed")
    return Feature(
        name=section.text("name", longest=256),
        low=_bound(section, "low"),
        high=_bound(section, "high"),
        categories=categories,
        missing=missing,
        takes_unknown=takes_unknown,
    )


def _reference(root: Section, features: Mapping[str, tuple[str, ...]]) -> tuple[FeatureBins, ...]:
    """Bins by feature; `features`: all of them, with their categories."""
    found: list[FeatureBins] = []
    for section in root.sections("reference", (), longest=MAX_FEATURES):
        feature = section.text("feature", longest=256)
        edges = section.items("edges", longest=MAX_BINS - 1)
        counts = section.items("counts", longest=MAX_BINS)
        if feature not in features or feature in {bins.feature for bins in found}:
            section.mistake("feature", f"{feature[:64]!r} is no feature of this model, or has bins already")
        if not edges or not all(map(_is_number, edges)) or not all(low < high for low, high in pairwise(edges)):
            section.mistake("edges", "must be ascending numbers")
        if len(counts) != len(edges) + 1 or not all(type(count) is int and 0 <= count < 2**53 for count in counts):
            section.mistake("counts", "must be whole numbers, one more than edges")
        else:
            bins = FeatureBins(feature=feature, edges=tuple(map(float, edges)), counts=tuple(counts))
            found.append(replace(bins, categories=features.get(feature, ())))
    return tuple(found)


def _slices(root: Section) -> tuple[Slice, ...]:
    found = tuple(
        Slice(name=section.text("name", pattern=SLICE_NAME), values=_texts(section, "values", longest=MAX_VALUES))
        for section in root.sections("slices", (), longest=MAX_SLICES)
    )
    if len({one.name for one in found}) < len(found) or not all(one.values for one in found):
        root.mistake("slices", "a name occurs twice, or one has no values")
    return found


def _texts(section: Section, key: str, *, longest: int, characters: int = 128) -> tuple[str, ...]:
    items = section.items(key, longest=longest)
    fit = all(isinstance(item, str) and 0 < len(item) <= characters for item in items)
    if not fit or len(set(items)) < len(items):
        section.mistake(key, f"must be different texts of 1 to {characters} characters")
        return ()
    return tuple(items)


def _is_int64(text: str) -> bool:
    try:
        return -(2**63) <= int(text) < 2**63 and str(int(text)) == text
    except ValueError:
        return False


def _bound(section: Section, key: str) -> float:
    return section.number(key, low=-1.7976931348623157e308, high=1.7976931348623157e308)


def _files(root: Section) -> tuple[FileEntry, ...]:
    files = tuple(
        FileEntry(
            name=f.text("name", pattern=r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
            size=f.integer("size", low=0, high=2**40),
            sha256=Sha256(f.text("sha256", pattern="[0-9a-f]{64}")),
        )
        for f in root.sections("files", longest=64)
    )
    names = [f.name for f in files]
    if len(set(names)) < len(names) or {MANIFEST, SIGNATURE} & set(names):
        root.mistake("files", f"a name occurs twice, or {MANIFEST} or {SIGNATURE} lists itself")
    return files


def _decision(section: Section, classes: tuple[str, ...]) -> Decision:
    match section.choice("rule", ("argmax", "threshold", "least-cost")):
        case "argmax":
            return Argmax()
        case "least-cost":
            costs = _matrix(section, "costs", len(classes))
            if len(costs) != len(classes) or any(cost < 0 for row in costs for cost in row):
                section.mistake("costs", "must hold a row of costs from 0 on for every class")
                return Argmax()
            return LeastCost(costs=costs)
    value = section.number("value", low=0.0, high=1.0)
    positive = section.text("class")
    if len(classes) != 2 or positive not in classes:
        section.mistake("class", f"{positive!r}; a threshold needs two classes and one of them here")
        return Argmax()
    return Threshold(positive=classes.index(positive), value=value)


def _golden(section: Section, features: tuple[Feature, ...], classes: int) -> Golden:
    rows = _rows(section, features)
    probabilities = _matrix(section, "probabilities", classes)
    if not rows or len(rows) != len(probabilities):
        section.mistake("rows", f"{len(rows)} rows for {len(probabilities)} expected answers; at least one of each")
    return Golden(
        rows=rows,
        probabilities=probabilities,
        tolerance=section.number("tolerance", low=0.0, high=1e-3),
    )


def _rows(section: Section, features: tuple[Feature, ...]) -> tuple[tuple[float | None, ...], ...]:
    """Golden rows: null is a missing value, where the feature allows one."""
    rows = section.items("rows", longest=1_000)
    gaps = [feature.missing for feature in features]
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(gaps):
            section.mistake(f"rows[{i}]", f"is not a row of {len(gaps)} numbers")
            return ()
        if not all(_is_number(cell) or (cell is None and gap) for cell, gap in zip(row, gaps, strict=True)):
            section.mistake(f"rows[{i}]", "holds what is no number, or null for a feature that has no missing values")
            return ()
    return tuple(tuple(None if cell is None else float(cell) for cell in row) for row in rows)


def _matrix(section: Section, key: str, width: int) -> tuple[tuple[float, ...], ...]:
    rows = section.items(key, longest=1_000)
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != width or not all(_is_number(cell) for cell in row):
            section.mistake(f"{key}[{i}]", f"is not a row of {width} numbers")
            return ()
    return tuple(tuple(float(cell) for cell in row) for row in rows)


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool) and abs(cell) <= 1.7976931348623157e308
