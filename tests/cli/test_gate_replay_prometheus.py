"""`pilotage gate replay --prometheus` on a real one: every matured label once, and the recording says the same."""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pilotage.cli.main import main
from support.exported import CANARY, DELAY_S, STABLE, Collector
from support.prometheus import Prometheus, running_prometheus

GATES = "gates:\n- {name: quality, metric: accuracy, margin: 0.1}\nanalysis: {minSamples: 0}\n"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    with running_prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


def written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def run(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["pilotage", "gate", "replay", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_a_past_rollout_is_counted_as_the_operator_would_have(
    prometheus: Prometheus, tmp_path: Path, monkeypatch, capsys
):
    gates, kept = tmp_path / "gates.yaml", tmp_path / "counts.jsonl"
    gates.write_text(GATES)
    collector = Collector(prometheus.exporter, "digits")
    prometheus.exporter.scraped()
    collector.count(STABLE, "a", "a", 70)
    collector.count(STABLE, "b", "a", 30)
    prometheus.exporter.scraped()
    began = time.time()
    prometheus.exporter.scraped()
    for _ in range(4):
        for revision in (STABLE, CANARY):
            collector.count(revision, "a", "a", 40)
            collector.count(revision, "b", "b", 40)
        prometheus.exporter.scraped()
    prometheus.exporter.scraped()
    ended = time.time()

    code, out, err = run(
        monkeypatch,
        capsys,
        str(gates),
        *("--prometheus", f"aws={prometheus.url}", "--model", "digits", "-n", "models"),
        *("--stable", STABLE, "--canary", CANARY, "--interval", "500ms", "--label-delay", f"{DELAY_S}s"),
        *("--from", written(began - DELAY_S), "--to", written(ended - DELAY_S), "--record", str(kept), "-o", "json"),
    )
    again = run(monkeypatch, capsys, str(gates), str(kept), "-o", "json")

    header, *blocks = (json.loads(line) for line in kept.read_text().splitlines())
    assert (code, err) == (0, "")
    assert header["history"]["aws"][0]["confusion"] == {"a": {"a": 70}, "b": {"a": 30}}
    assert len(blocks) > 1
    for arm in ("stable", "canary"):
        cells = [block["clusters"]["aws"][arm]["confusion"] for block in blocks]
        assert sum(each.get("a", {}).get("a", 0) for each in cells) == 160
    assert again[1] == out
    assert json.loads(out)["opinions"][0]["decided"]["state"] == "Pass"


def test_counts_that_are_not_there_are_an_error_with_a_code_of_their_own(
    prometheus: Prometheus, tmp_path: Path, monkeypatch, capsys
):
    gates = tmp_path / "gates.yaml"
    gates.write_text(GATES)

    code, out, err = run(
        monkeypatch,
        capsys,
        str(gates),
        *("--prometheus", f"aws={prometheus.url}", "--model", "nobody", "-n", "models"),
        *("--stable", STABLE, "--canary", CANARY, "--from", written(time.time() - 60)),
    )

    assert (code, out) == (4, "")
    assert err.startswith(f"error: no scrape of {STABLE} and {CANARY} of models/nobody between --from and --to in aws;")
