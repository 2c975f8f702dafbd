"""YAML in, `Config` out, all mistakes at once with their paths. Relative paths start at the file's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from pilotage_server.bundle.manifest import NAME
from pilotage_server.document import Document, Malformed, Section
from pilotage_server.train.config.given import SplitShares
from pilotage_server.train.config.read_data import read_data
from pilotage_server.train.config.read_model import read_calibration, read_candidates, read_features, read_search
from pilotage_server.train.config.read_rules import read_costs, read_decision, read_fairness, read_report
from pilotage_server.train.config.revision import revision_of
from pilotage_server.train.config.types import Candidate, Config, ConfigError, Imbalance, Preparation, Range, Search

_IMAGE = r"[a-z0-9]+([._-][a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-][a-z0-9]+)*)*"


def read_config(path: Path) -> Config:
    """Read a configuration file; raises `ConfigError`."""
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
    return replace(config, revision=revision_of(path))


def _read(root: Section, folder: Path, written: Mapping[str, Any]) -> Config:
    name = root.text("name", pattern=NAME)
    shares = _split(root.section("split"))
    costs, features = read_costs(root), read_features(root.section("features"))
    candidates, search = read_candidates(root, shares.seed, features), read_search(root.section("search"), costs)
    _check_ranges(root, candidates, search)
    return Config(
        name=name,
        version=root.text("version", "v1", pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
        description=root.text("description", "", longest=4096),
        use=root.text("use", "", longest=4096),
        image=root.text("image", f"pilotage.dev/models/{name}", pattern=_IMAGE, longest=255),
        data=read_data(root.section("data"), folder, shares),
        split=shares,
        preparation=_preparation(root.section("prepare")),
        features=features,
        candidates=candidates,
        search=search,
        imbalance=_imbalance(root),
        calibration=read_calibration(root.section("calibration")),
        decision=read_decision(root.section("decision"), costs),
        costs=costs,
        fairness=read_fairness(root.section("fairness")),
        report=read_report(root.section("report")),
        backend=root.section("export").choice("backend", ("auto", "onnx", "sklearn"), "auto"),
        written=written,
    )


def _check_ranges(root: Section, candidates: Sequence[Candidate], search: Search) -> None:
    """Record ranges that a grid cannot list."""
    for i, candidate in enumerate(candidates if search.method == "grid" else ()):
        where = f"candidates[{i}]" if "candidates" in root else "model"
        for key, values in candidate.space.items():
            if isinstance(values, Range):
                root.mistake(f"{where}.search.{key}", "a range needs search.method random, halving or bayesian; list "
                             "values for grid")  # fmt: skip


def _split(section: Section) -> SplitShares:
    shares = SplitShares(
        seed=section.integer("seed", 0, low=0, high=2**32 - 1),
        test=section.number("test", 0.2, low=0.02, high=0.8),
        holdback=section.number("holdback", 0.0, low=0.0, high=0.9),
        by=section.choice("by", ("random", "group", "time"), "random"),
    )
    if shares.test + shares.holdback > 0.95:
        section.mistake("holdback", f"{shares.holdback:g} and test {shares.test:g} leave less than 0.05 to train on")
    return shares


def _preparation(section: Section) -> Preparation:
    return Preparation(
        impute=section.choice("impute", ("median", "mean", "most_frequent"), "median"),
        indicator=section.flag("indicator", False),
        encode=section.choice("encode", ("one-hot", "target"), "one-hot"),
        rare_share=section.number("rareShare", 0.01, low=0.0, high=0.5),
    )


def _imbalance(root: Section) -> tuple[Imbalance, ...]:
    section = root.section("imbalance")
    found = []
    for i, item in enumerate(section.items("compare", ("none",), longest=len(Imbalance))):
        if item not in tuple(Imbalance):
            section.mistake(f"compare[{i}]", f"{item!r} is not one of {', '.join(Imbalance)}")
        else:
            found.append(Imbalance(item))
    if len(set(found)) < len(found):
        section.mistake("compare", "names a choice twice")
    return tuple(dict.fromkeys(found)) or (Imbalance.NONE,)
