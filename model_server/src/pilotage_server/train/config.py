"""The trainer's configuration: YAML in, frozen values out, all mistakes at once with their paths.

Knows the shape of the file only: whether a class or a column exists is for those who have the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pilotage_server.bundle.manifest import NAME
from pilotage_server.document import Document, Malformed, Section, nearest
from pilotage_server.train.estimators import RECIPES

DATASETS = ("iris", "wine", "breast_cancer", "digits")
SCALERS = ("standard", "minmax", "none")
_IMAGE = r"[a-z0-9]+([._-][a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-][a-z0-9]+)*)*"


class ConfigError(Exception):
    """A configuration, or data, that cannot be trained with.

    The message says field, value, rule and remedy.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Csv:
    """A CSV file with a header line.

    `target` names the column of the classes, every other column is a feature.
    """

    path: Path
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subsample:
    """Keep only a share of the training rows of a class (of every class when none is named)."""

    label: str | None
    keep: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Relabel:
    """Give a share of the training rows of one class the label of another."""

    label: str
    to: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What to learn from: a data set of scikit-learn by name, or a CSV file.

    And what is done to the training rows.
    """

    source: str | Csv
    subsample: tuple[Subsample, ...] = ()
    relabel: tuple[Relabel, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitShares:
    """Shares of all rows, in (0, 1), stratified by class.

    `holdback` is drawn first, then `test`, the rest trains.
    """

    seed: int
    test: float
    holdback: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An estimator of the allow-list with its hyperparameters, behind a scaler."""

    estimator: str
    params: Mapping[str, Any]
    scale: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRule:
    """Decide for a class as soon as its probability reaches a value; two classes only."""

    label: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One training run. `written` is the document as it stood in the file, for the manifest."""

    name: str
    version: str
    description: str
    image: str
    data: Data
    split: SplitShares
    model: Model
    threshold: ThresholdRule | None
    backend: str
    written: Mapping[str, Any]


def read_config(path: Path) -> Config:
    """Read a configuration file; relative paths in it start at its folder. Raises `ConfigError`."""
    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not YAML ({str(error).splitlines()[0]})") from error
    document = Document(written)
    try:
        config = _read(document.root, path.parent, written if isinstance(written, dict) else {})
        document.finish()
    except Malformed as malformed:
        raise ConfigError("\n".join(f"{path}: {mistake}" for mistake in malformed.mistakes)) from malformed
    return config


def _read(root: Section, folder: Path, written: Mapping[str, Any]) -> Config:
    name = root.text("name", pattern=NAME)
    split = root.section("split")
    shares = SplitShares(
        seed=split.integer("seed", 0, low=0, high=2**32 - 1),
        test=split.number("test", 0.2, low=0.02, high=0.8),
        holdback=split.number("holdback", 0.0, low=0.0, high=0.9),
    )
    if shares.test + shares.holdback > 0.95:
        split.mistake("holdback", f"{shares.holdback:g} and test {shares.test:g} leave less than 0.05 to train on")
    export = root.section("export")
    return Config(
        name=name,
        version=root.text("version", "v1", pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
        description=root.text("description", "", longest=4096),
        image=root.text("image", f"pilotage.dev/models/{name}", pattern=_IMAGE, longest=255),
        data=_data(root.section("data"), folder),
        split=shares,
        model=_model(root.section("model"), shares.seed),
        threshold=_threshold(root.section("decision")),
        backend=export.choice("backend", ("auto", "onnx", "sklearn"), "auto"),
        written=written,
    )


def _data(section: Section, folder: Path) -> Data:
    source: str | Csv
    if "csv" in section:
        csv = section.section("csv")
        source = Csv(path=folder / csv.text("path"), target=csv.text("target", longest=256))
        if "dataset" in section:
            section.mistake("csv", "stands beside dataset; give one of the two")
        section.value("dataset", None)
    else:
        source = section.choice("dataset", DATASETS)
    subsample = tuple(
        Subsample(label=_label(s, "class", None), keep=s.number("keep", low=0.0, high=1.0))
        for s in section.sections("subsample", (), longest=1_000)
    )
    relabel = tuple(
        Relabel(label=_label(s, "class") or "", to=_label(s, "to") or "", share=s.number("share", low=0.0, high=1.0))
        for s in section.sections("relabel", (), longest=1_000)
    )
    return Data(source=source, subsample=subsample, relabel=relabel)


def _label(section: Section, key: str, *default: None) -> str | None:
    """Read a class; YAML makes a number of an unquoted 8, which means the class all the same."""
    value = section.value(key, *default)
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    if value is None and default:
        return None
    section.mistake(key, "must be a class, written as text or whole number")
    return ""


def _model(section: Section, seed: int) -> Model:
    estimator = section.choice("estimator", tuple(RECIPES))
    params = dict(section.section("params").plain())
    allowed = RECIPES[estimator].params
    for key in params:
        if key not in allowed:
            section.mistake(f"params.{key}", f"is no parameter of {estimator}; {nearest(str(key), sorted(allowed))}")
    return Model(
        estimator=estimator,
        params=params,
        scale=section.choice("scale", SCALERS, "standard"),
        seed=section.integer("seed", seed, low=0, high=2**32 - 1),
    )


def _threshold(section: Section) -> ThresholdRule | None:
    rule = section.choice("rule", ("argmax", "threshold"), "argmax")
    if rule == "argmax":
        return None
    return ThresholdRule(label=_label(section, "class") or "", value=section.number("value", low=0.0, high=1.0))
