"""Champion against challenger: a new bundle only if the later rows prove it better.

The labelled rows are cut in time: the challenger may learn from the earlier ones, both are judged on the later ones,
which neither has seen. A later row that repeats a training row (a retry, a replay) judges nothing and is left out; how
far a challenger has learned stands in its manifest, so that its successor is judged on later rows still. The new bundle
is trained beside the target folder and moved there only when the lower bound of the paired bootstrap is above zero;
otherwise nothing but the comparison is left.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from pilotage_server.bundle import AnySigner, Bundle, Manifest, load, open_source
from pilotage_server.feedback.labels import Columns
from pilotage_server.train.config import Config, ConfigError
from pilotage_server.train.data import Table
from pilotage_server.train.data import load as load_table
from pilotage_server.train.deploy.write import clear_folder, write_refusal, write_result
from pilotage_server.train.evaluate.metrics import Answers
from pilotage_server.train.evaluate.paired import Improvement, improvement
from pilotage_server.train.retrain.join import COLUMNS, Feedback, join
from pilotage_server.train.retrain.trigger import reasons
from pilotage_server.train.run import Result, train_table
from pilotage_server.train.search.decision import cost_matrix

LEAST_COMPARED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to retrain from. `later_share`: of the labelled rows, the latest ones, kept for the comparison.

    `only_if`: train only for one of these reasons (drift, quality); empty trains always.
    """

    champion: Path
    log: Path
    labels: Path
    later_share: float = 0.4
    only_if: Sequence[str] = ()
    columns: Columns = COLUMNS


@dataclass(frozen=True, slots=True, kw_only=True)
class NotNeeded:
    """Nothing has changed that would be a reason."""

    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotBetter:
    """The challenger was not proven better; no bundle was written. `left_out`: what could not be joined, by reason."""

    compared: Improvement
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Better:
    """The challenger won; its bundle is in the target folder."""

    compared: Improvement
    left_out: Mapping[str, int]
    result: Result
    reasons: Sequence[str]


def retrain(
    config: Config, wanted: Request, out: Path, *, key: Ed25519PrivateKey | None
) -> NotNeeded | NotBetter | Better:
    """Train a challenger from feedback and compare; raises `ConfigError`, `Refused`."""
    if wanted.champion.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"--out {out}: holds the champion, which must survive; name another folder")
    champion = load(open_source(wanted.champion), trust=AnySigner())
    manifest = champion.manifest
    feedback = join(wanted.log, wanted.labels, manifest.features, manifest.classes, wanted.columns)
    costs = cost_matrix(config.costs, manifest.classes)
    why = reasons(manifest, _answers(champion, feedback, costs), feedback.rows, wanted.only_if)
    if wanted.only_if and not why:
        return NotNeeded(rows=len(feedback))
    earlier, later = cut_in_time(feedback, wanted.later_share, manifest.data.get("until"))
    table = extended(load_table(config.data.source, config.data.columns), earlier, manifest)
    if config.data.quality.duplicates < 1.0 and "duplicates" not in config.data.quality.allow:
        later = unseen(later, table)
    clear_folder(out)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as aside:
        staged = Path(aside) / "run"
        result = train_table(config, table, staged, key=key)
        challenger = load(open_source(staged / "bundle"), trust=AnySigner())
        compared = improvement(
            config.search.metric,
            _answers(champion, later, costs),
            _answers(challenger, later, costs),
            seed=config.split.seed,
        )
        record = _record(compared, why, feedback)
        if not compared.is_proven:
            write_refusal(out, {"name": config.name, "reason": "not better", "retraining": record})
            return NotBetter(compared=compared, left_out=feedback.left_out)
        write_result(staged, {**result.document, "retraining": record})
        for made in staged.iterdir():
            shutil.move(made, out / made.name)
    return Better(compared=compared, left_out=feedback.left_out, result=result, reasons=why)


def cut_in_time(feedback: Feedback, later_share: float, until: float | None) -> tuple[Feedback, Feedback]:
    """Earlier and later labelled rows; later ones come after every training row, of champion and challenger.

    The cut falls between two different times, so that rows of one moment are on one side.
    """
    at = float(np.quantile(feedback.times, 1 - later_share))
    if until is not None:
        at = max(at, until)
    later = feedback.times > at
    _check_enough(int(later.sum()))
    return feedback.take(~later), feedback.take(later)


def _check_enough(count: int, also: str = "") -> None:
    if count < LEAST_COMPARED:
        raise ConfigError(
            f"--from-feedback: {count} labelled rows are later than all training rows{also}, fewer than "
            f"{LEAST_COMPARED}; collect more labels"
        )


def unseen(later: Feedback, table: Table) -> Feedback:
    """The later rows that repeat no training row, features and label, of champion or challenger.

    Where repeats are normal (few categories), the configuration says so with `data.quality`.
    """
    known = {(row.tobytes(), label) for row, label in zip(table.rows, table.labels.tolist(), strict=True)}
    fresh = np.array(
        [(row.tobytes(), label) not in known for row, label in zip(later.rows, later.labels.tolist(), strict=True)]
    )
    left = later.take(fresh)
    later.left_out["seenInTraining"] = int((~fresh).sum())
    _check_enough(len(left), f" and repeat none ({later.left_out['seenInTraining']} do)")
    return left


def extended(table: Table, earlier: Feedback, champion: Manifest) -> Table:
    """The configuration's table with the earlier labelled rows under it."""
    here = [(column.name, column.categories) for column in table.columns]
    there = [(feature.name, feature.categories) for feature in champion.features]
    if here != there or table.classes != champion.classes:
        raise ConfigError(
            "--champion: its features, their categories or its classes are not those of the configuration; train it "
            "anew with pilotage-model train, and let a gate compare the two"
        )
    first = 0 if table.groups is None else int(table.groups.max()) + 1
    # Without times of its own, the table is older than anything a server has answered.
    times = np.zeros(len(table.labels)) if table.times is None else table.times
    return replace(
        table,
        name=f"{table.name} + {len(earlier)} labelled requests",
        rows=np.vstack([table.rows, earlier.rows]),
        labels=np.concatenate([table.labels, earlier.labels]),
        groups=None if table.groups is None else np.concatenate([table.groups, earlier.requests + first]),
        times=np.concatenate([times, earlier.times]),
        attributes={name: (*values, *["missing"] * len(earlier)) for name, values in table.attributes.items()},
    )


def _answers(bundle: Bundle, feedback: Feedback, costs: NDArray[np.float64] | None) -> Answers:
    """What a bundle says about labelled rows, decided as it would decide in production."""
    probabilities = bundle.predictor.probabilities(feedback.rows)
    return Answers(
        actual=feedback.labels,
        predicted=bundle.manifest.decision.decide(probabilities),
        probabilities=probabilities,
        classes=bundle.manifest.classes,
        groups=feedback.requests,
        costs=costs,
    )


def _record(compared: Improvement, why: Sequence[str], feedback: Feedback) -> Mapping[str, Any]:
    return {"improvement": asdict(compared), "reasons": list(why), "leftOut": dict(feedback.left_out)}
