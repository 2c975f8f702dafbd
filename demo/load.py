"""The traffic of the demo, as a process of its own: real digits to every cloud's gateway, true labels later.

Each request is one held-back digit drawn from the plan's class mix; its label is posted to the same cloud after the
class's delay, for a share of the predictions. Nothing is retried (but labels, with `--repost`: they are delivered at
least once and counted at most once); a request that fails is counted and told. Orders come as lines on stdin
(`withhold`, `post`, `stop`), the ledger goes to a file when it ends. Ends also when stdin closes.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from demo import plan

POST_EVERY_S = 0.1
HOSTNAME = "digits.models.example.com"


@dataclass
class Cloud:
    """One cloud's traffic. `due` are labels not posted yet: (when, token, actual, revision, predicted)."""

    name: str
    gateway: str
    rate: float
    draw: random.Random
    due: list[tuple[float, str, str, str, str]] = field(default_factory=list)


@dataclass
class Tally:
    """What was sent and what came of it; `labels` counts accepted labels by (cloud, revision, actual, predicted)."""

    sent: int = 0
    failures: list[str] = field(default_factory=list)
    predictions: Counter[tuple[str, str]] = field(default_factory=Counter)
    labels: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)

    def fail(self, why: str) -> None:
        """Count a failed request; the first few are kept in words."""
        self.failures.append(why)

    def as_json(self) -> dict[str, Any]:
        """The ledger's file."""
        return {
            "sent": self.sent,
            "failed": len(self.failures),
            "failures": self.failures[:20],
            "results": dict(self.results),
            "predictions": [[*key, count] for key, count in sorted(self.predictions.items())],
            "labels": [[*key, count] for key, count in sorted(self.labels.items())],
        }


class Load:
    """Open-loop traffic to several clouds until told to stop."""

    def __init__(
        self, clouds: list[Cloud], rows: dict[str, list[list[float]]], session: aiohttp.ClientSession, *, repost: bool
    ) -> None:
        self.clouds = clouds
        self.rows = rows
        self.session = session
        self.repost = repost
        self.tally = Tally()
        self.withheld = False
        self.stopping = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send until `stopping` is set, then post what is due and wait for the last answers."""
        await asyncio.gather(
            *(self._send(cloud) for cloud in self.clouds), *(self._post(cloud) for cloud in self.clouds)
        )
        await asyncio.gather(*self._open)

    async def _send(self, cloud: Cloud) -> None:
        next_at = time.monotonic()
        while not self.stopping.is_set():
            next_at += cloud.draw.expovariate(cloud.rate)
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
            actual = cloud.draw.choices(plan.CLASSES, weights=[plan.CLASS_MIX[each] for each in plan.CLASSES])[0]
            task = asyncio.create_task(self._predict(cloud, actual))
            self._open.add(task)
            task.add_done_callback(self._open.discard)

    async def _predict(self, cloud: Cloud, actual: str) -> None:
        row = cloud.draw.choice(self.rows[actual])
        body = {"inputs": [{"name": "input", "datatype": "FP64", "shape": [1, len(row)], "data": row}]}
        answer = await self._request(cloud, "infer", body)
        if answer is None:
            return
        headers, answered = answer
        revision, predicted = headers["x-pilotage-revision"], str(answered["outputs"][0]["data"][0])
        self.tally.predictions[cloud.name, revision] += 1
        if not self.withheld and cloud.draw.random() < plan.LABEL_SHARE:
            token = answered["parameters"]["feedback_token"]
            at = time.monotonic() + plan.DELAY_BY_CLASS_S[actual] * cloud.draw.uniform(0.7, 1.0)
            heapq.heappush(cloud.due, (at, token, actual, revision, predicted))

    async def _post(self, cloud: Cloud) -> None:
        while cloud.due or self._open or not self.stopping.is_set():
            await asyncio.sleep(POST_EVERY_S)
            batch: list[tuple[float, str, str, str, str]] = []
            while cloud.due and cloud.due[0][0] <= time.monotonic() and len(batch) < 500:
                batch.append(heapq.heappop(cloud.due))
            if batch:
                await self._feed_back(cloud, batch)

    async def _feed_back(self, cloud: Cloud, batch: list[tuple[float, str, str, str, str]]) -> None:
        items = [{"token": token, "row": 0, "label": actual} for _, token, actual, _, _ in batch]
        answer = await self._request(cloud, "feedback", {"feedback": items})
        if answer is None:
            for label in batch if self.repost else ():
                heapq.heappush(cloud.due, label)
            return
        known = ("accepted", "duplicate") if self.repost else ("accepted",)
        for (_, _, actual, revision, predicted), item in zip(batch, answer[1]["results"], strict=True):
            self.tally.results[item["result"]] += 1
            if item["result"] in known:
                self.tally.labels[cloud.name, revision, actual, predicted] += 1

    async def _request(self, cloud: Cloud, verb: str, body: Any) -> tuple[Any, Any] | None:
        self.tally.sent += 1
        url = f"{cloud.gateway}/v2/models/digits/{verb}"
        try:
            async with self.session.post(url, json=body, headers={"Host": HOSTNAME}) as response:
                if response.status == 200:
                    return response.headers, await response.json(content_type=None)
                self.tally.fail(f"{cloud.name} {verb}: {response.status} {(await response.text())[:200]}")
        except (aiohttp.ClientError, TimeoutError) as error:
            self.tally.fail(f"{cloud.name} {verb}: {error!r}")
        return None


async def obey(load: Load) -> None:
    """Follow orders from stdin until it ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().strip():
        match line:
            case "withhold":
                load.withheld = True
            case "post":
                load.withheld = False
            case "stop":
                break
    load.stopping.set()


async def play(gateways: dict[str, str], rows: dict[str, list[list[float]]], seed: int, repost: bool) -> Tally:
    """Send to every gateway until told to stop, and return what was sent."""
    clouds = [
        Cloud(name=name, gateway=url, rate=plan.REQUESTS_PER_S[name], draw=random.Random(f"{seed} {name}"))
        for name, url in gateways.items()
    ]
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        load = Load(clouds, rows, session, repost=repost)
        orders = asyncio.create_task(obey(load))
        await load.run()
        orders.cancel()
    return load.tally


def held_back(path: Path) -> dict[str, list[list[float]]]:
    """The rows that training held back, by class."""
    document = json.loads(path.read_text())
    rows: dict[str, list[list[float]]] = {name: [] for name in plan.CLASSES}
    for row, label in zip(document["rows"], document["labels"], strict=True):
        rows[str(label)].append(row)
    return rows


def main() -> None:
    """Read the rows, play, write the ledger."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--repost", action="store_true", help="post labels again whose request failed (for fault tests)"
    )
    parser.add_argument("gateways", nargs="+", metavar="CLOUD=URL")
    arguments = parser.parse_args()
    gateways = dict(each.split("=", 1) for each in arguments.gateways)
    tally = asyncio.run(play(gateways, held_back(arguments.rows), arguments.seed, arguments.repost))
    arguments.ledger.write_text(json.dumps(tally.as_json()))


if __name__ == "__main__":
    main()
