"""Every metric of a live scrape stands in a page, every metric in a page stands in a live scrape, and all are named as
Prometheus wants them: the rules of `promtool check metrics`, and both strict parsers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from pilotage_server.quality.slices import Slice
from support.feedback import Clock, a_collector, an_announcement
from support.serving import Keys, running_server

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {name: (DOCS / name).read_text(encoding="utf-8") for name in ("feedback.md", "serving.md")}
COSTS = ((0.0, 1.0, 2.0), (1.0, 0.0, 1.0), (2.0, 1.0, 0.0))
EVERYTHING: dict[str, Any] = {"export": ["scores", "loss", "audit"], "auditRate": 0.5}
RESERVED = {"counter", "gauge", "histogram", "summary"}
NO_BASE_UNITS = re.compile(r"_(ms|milliseconds|microseconds|minutes|hours|days|kilobytes|megabytes|percent)(_|$)")


def the_collectors(folder: Path) -> tuple[str, str]:
    """The page of a collector that shows all it has, in both formats."""

    async def scrape() -> tuple[str, str]:
        async with a_collector(folder, Clock(), **EVERYTHING) as collector:
            slices = (Slice(name="region", values=("eu", "us")),)
            await collector.writer.submit(an_announcement(slices=slices, costs=COSTS))
            _, text = await collector.get("/metrics")
            _, openmetrics = await collector.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
        return text.decode(), openmetrics.decode()

    return asyncio.run(scrape())


@pytest.fixture(scope="module")
def scrapes(iris: Path, keys: Keys, feedback_keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What Prometheus reads of a pod with everything on, and of its collector."""
    folder = tmp_path_factory.mktemp("pages")
    peers = {"jurisdictions": ["eu"], "peers": {"gcp": {"url": "http://127.0.0.1:9", "jurisdictions": ["eu"]}}}
    env = {
        "PILOTAGE_CLUSTER": "aws",
        "PILOTAGE_SHADOW": "canary",
        "PILOTAGE_FEEDBACK_PEERS": json.dumps(peers),
        "PILOTAGE_SERVER_PAYLOAD_LOG": str(folder / "payloads.jsonl"),
    }
    trust = ("--bundle-key-dir", str(keys.public_dir), "--feedback-key-dir", str(feedback_keys))
    with running_server(iris / "oci", *trust, env=env) as server:
        pod = server.request("GET", "/metrics", admin=True).body
    text, openmetrics = the_collectors(folder)
    return {"pod": pod, "collector": text, "openmetrics": openmetrics}


def families(text: str) -> list[Metric]:
    """Families of one page but the process's own, which `prometheus_client` names."""
    return [family for family in parse_text(text) if not family.name.startswith(("process_", "python_"))]


def exported(scrapes: Mapping[str, str]) -> set[str]:
    """Names as a page writes them: counters with `_total`."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name
        for where in ("pod", "collector")
        for family in families(scrapes[where])
    }


def written(page: str) -> set[str]:
    """Metrics that a page names in code, with or without labels or the suffix of a part; `_brier` goes on a line."""
    page = page.replace("`_brier`", "`model_outcome_brier`").replace("`_cost`", "`model_outcome_cost`")
    code = " ".join(re.findall(r"`([^`\n]+)`", page)) + " ".join(re.findall(r"```\n(.*?)```", page, re.DOTALL))
    names = set(re.findall(r"(?<![\w./-])((?:model|pilotage)_[a-z0-9_]*[a-z0-9])(?![\w./-])", code))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names if not name.startswith("pilotage_server")}


def test_every_exported_metric_stands_in_a_page(scrapes: Mapping[str, str]) -> None:
    assert exported(scrapes) - set().union(*map(written, PAGES.values())) == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_metric_in_a_page_is_exported(scrapes: Mapping[str, str], page: str) -> None:
    assert written(PAGES[page]) - exported(scrapes) == set()


@pytest.mark.parametrize("where", ["pod", "collector"])
def test_names_types_and_labels_are_as_promtool_wants_them(scrapes: Mapping[str, str], where: str) -> None:
    page = scrapes[where]
    totals = set(re.findall(r"^# TYPE (\w+_total) counter$", page, re.MULTILINE))

    for family in families(page):
        assert family.documentation, family.name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
        assert not RESERVED & set(family.name.split("_")), f"{family.name}: a type in a name"
        assert not NO_BASE_UNITS.search(family.name), f"{family.name}: seconds, bytes and ratios only"
        assert (f"{family.name}_total" in totals) == (family.type == "counter"), family.name
        if family.type in ("counter", "gauge"):
            assert not family.name.endswith(("_count", "_sum", "_bucket")), family.name
        if family.type != "histogram":
            assert not any("le" in sample.labels for sample in family.samples), f"{family.name}: le is of histograms"
        assert not any("quantile" in sample.labels for sample in family.samples), family.name


@pytest.mark.parametrize("where", ["pod", "collector"])
def test_no_series_and_no_family_is_told_twice(scrapes: Mapping[str, str], where: str) -> None:
    lines = [line for line in scrapes[where].splitlines() if not line.startswith("#")]
    series = [line.rpartition(" ")[0] for line in lines]
    types = re.findall(r"^# TYPE (\w+) ", scrapes[where], re.MULTILINE)

    assert len(series) == len(set(series))
    assert len(types) == len(set(types))


def test_openmetrics_is_parsed_strictly_and_says_the_same(scrapes: Mapping[str, str]) -> None:
    strict = [family for family in parse_openmetrics(scrapes["openmetrics"]) if not family.name.startswith("process_")]
    plain = families(scrapes["collector"])

    assert [(one.name, one.type) for one in strict] == [(one.name, one.type) for one in plain]
    assert [len(one.samples) for one in strict] == [len(one.samples) for one in plain]
