"""A run on rows beyond memory: the same checks, export, evaluation and report, on what was kept of the rows."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from threadpoolctl import threadpool_limits

from pilotage_server.train.config import Config
from pilotage_server.train.data.quality import check, lines
from pilotage_server.train.data.sealed import Sealed
from pilotage_server.train.deploy.write import write_refusal
from pilotage_server.train.progress import SILENT, Progress
from pilotage_server.train.refusals import QualityFailed
from pilotage_server.train.run import Result, finish
from pilotage_server.train.scale.streaming import fit_stream
from pilotage_server.train.search.decision import cost_matrix, decide
from pilotage_server.train.search.select import Selected, final_document


def train_stream(
    config: Config, out: Path, *, key: Ed25519PrivateKey | None, chunk_rows: int, progress: Progress = SILENT
) -> Result:
    """Train from a CSV file `chunk_rows` rows at a time; raises `ConfigError`."""
    with threadpool_limits(limits=1):
        streamed = fit_stream(config, chunk_rows, progress=progress)
        table, parts = streamed.table, streamed.parts
        quality = check(table, parts, config.data, config.split.seed)
        if quality.failures:
            write_refusal(out, {"name": config.name, "reason": "data", "quality": quality.document()})
            raise QualityFailed(lines(quality.failures))
        costs = cost_matrix(config.costs, table.classes)
        document = final_document(streamed.variant, {}, [], config) | {"streamed": {"learnedRows": streamed.learned}}
        if streamed.curve:
            document["learningCurve"] = {"metric": "logLoss", "points": streamed.curve}
        selected = Selected(
            fitted=streamed.pipeline,
            decision=decide(config.decision, table.classes, costs, streamed.scores),
            variant=streamed.variant,
            params={},
            costs=costs,
            document=document,
            notes=[f"learned from {streamed.learned} rows in pieces; ranges and bins are those of {len(parts.train)}"],
        )
        return finish(config, table, parts, selected, Sealed(parts.test), quality, out, key)
