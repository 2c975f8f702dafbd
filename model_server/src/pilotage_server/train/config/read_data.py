"""The `data:` section: where rows come from, what columns mean, which findings are accepted."""

from __future__ import annotations

import codecs
from pathlib import Path

from pilotage_server.document import Section
from pilotage_server.train.config.given import (
    Attribute,
    Columns,
    Data,
    File,
    Quality,
    Relabel,
    SplitShares,
    Subsample,
)

ABOUT = ("source", "collection", "period", "consent", "licence", "retention", "limits", "contact")
"""What a datasheet asks: who made the rows and how, when, with whose leave, under which terms, kept for how long."""

DATASETS = ("iris", "wine", "breast_cancer", "digits")
CHECKS = (
    "class-names",
    "class-size",
    "constant",
    "duplicates",
    "group-overlap",
    "id-like",
    "label-conflicts",
    "leakage",
    "missing",
    "outliers",
    "personal",
    "target-time",
)


def read_data(section: Section, folder: Path, shares: SplitShares) -> Data:
    """Read the whole section; `shares` says whether a group or a time column is needed."""
    columns = _columns(section.section("columns"))
    if shares.by == "group" and columns.group is None:
        section.mistake("columns.group", "is missing; split.by: group needs the column of groups")
    if shares.by == "time" and columns.time is None:
        section.mistake("columns.time", "is missing; split.by: time needs the column of times")
    return Data(
        source=_source(section, folder),
        columns=columns,
        quality=_quality(section.section("quality")),
        about=_about(section.section("about")),
        subsample=tuple(
            Subsample(label=read_label(s, "class", None), keep=s.number("keep", low=0.0, high=1.0))
            for s in section.sections("subsample", (), longest=1_000)
        ),
        relabel=tuple(
            Relabel(
                label=read_label(s, "class") or "",
                to=read_label(s, "to") or "",
                share=s.number("share", low=0.0, high=1.0),
            )
            for s in section.sections("relabel", (), longest=1_000)
        ),
    )


def _about(section: Section) -> dict[str, str]:
    answers = {topic: section.text(topic, "", longest=4_096) for topic in ABOUT}
    return {topic: answer for topic, answer in answers.items() if answer}


def _source(section: Section, folder: Path) -> str | File:
    files = [key for key in ("csv", "parquet") if key in section]
    if not files:
        return section.choice("dataset", DATASETS)
    for other in (*files[1:], *(["dataset"] if "dataset" in section else [])):
        section.mistake(files[0], f"stands beside {other}; give one of the two")
        section.value(other, None)
    file = section.section(files[0])
    path, target = folder / file.text("path"), file.text("target", longest=256)
    missing = read_names(file, "missing")
    if files[0] == "parquet":
        return File(path=path, target=target, format="parquet", missing=missing)
    return File(
        path=path,
        target=target,
        separator=file.text("separator", "", longest=1),
        encoding=_encoding(file),
        decimal=file.choice("decimal", (".", ","), "."),
        missing=missing,
    )


def _encoding(file: Section) -> str:
    name = file.text("encoding", "", longest=64)
    try:
        return codecs.lookup(name).name if name else ""
    except LookupError:
        file.mistake("encoding", f"{name!r} is no encoding known here; write utf-8, utf-16, cp1252 or latin-1")
        return ""


def _columns(section: Section) -> Columns:
    return Columns(
        ignore=read_names(section, "ignore"),
        categorical=read_names(section, "categorical"),
        unknown=read_names(section, "unknown"),
        after=read_names(section, "after"),
        personal=read_names(section, "personal"),
        attributes=_attributes(section),
        group=section.text("group", longest=256) if "group" in section else None,
        time=section.text("time", longest=256) if "time" in section else None,
    )


def _attributes(section: Section) -> tuple[Attribute, ...]:
    """Read attributes: a column's name, or a mapping that cuts a column into groups."""
    found = []
    for i, item in enumerate(section.items("attributes", (), longest=4)):
        if isinstance(item, str):
            found.append(Attribute(name=item, column=item))
            continue
        one = section.entry("attributes", i, item)
        name = one.text("name", longest=64)
        quantiles = one.integer("quantiles", 0, low=0, high=10)
        found.append(
            Attribute(
                name=name,
                column=one.text("column", name, longest=256),
                quantiles=quantiles,
                is_feature=one.flag("feature", quantiles > 0),
            )
        )
    return tuple(found)


def _quality(section: Section) -> Quality:
    allow = read_names(section, "allow")
    for i, entry in enumerate(allow):
        if entry.partition(":")[0] not in CHECKS:
            section.mistake(f"allow[{i}]", f"{entry!r} is no check; known here: {', '.join(CHECKS)}")
    return Quality(
        allow=frozenset(allow),
        leakage_auc=section.number("leakageAuc", 0.99, low=0.5, high=1.0),
        duplicates=section.number("duplicates", 0.05, low=0.0, high=1.0),
        conflicts=section.number("labelConflicts", 0.02, low=0.0, high=1.0),
        missing=section.number("missing", 0.9, low=0.0, high=1.0),
    )


def read_names(section: Section, key: str) -> tuple[str, ...]:
    """Read a list of different texts."""
    items = section.items(key, (), longest=10_000)
    if not all(isinstance(item, str) for item in items) or len(set(map(str, items))) < len(items):
        section.mistake(key, "must be a list of different texts")
        return ()
    return tuple(items)


def read_label(section: Section, key: str, *default: None) -> str | None:
    """Read a class; YAML makes a number of an unquoted 8, which means the class all the same."""
    value = section.value(key, *default)
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    if value is None and default:
        return None
    section.mistake(key, "must be a class, written as text or whole number")
    return ""
