"""The batch client: posts a file of labels, several requests at a time, until each row has its answer.

A request the server cannot take now (503, 429, no connection) is posted again, as it is, after the pause the server
asked for or a growing one of our own; the server counts a row once however often it comes. When nothing has gone
forward for `patience_s` the run ends and can go on later from its journal. Knows files only as `labels` gives them.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import orjson

from pilotage_server.feedback.labels import Journal, Label, Report
from pilotage_server.feedback.results import Result

STORED: Final = frozenset({Result.ACCEPTED, Result.DUPLICATE})
"""Answers after which the row counts, or counted already; every other goes to the report."""
UNREADABLE: Final = "unreadable"
REQUEST_TIMEOUT_S: Final = 30.0
LONGEST_PAUSE_S: Final = 15.0


class PostRefused(Exception):
    """The server refuses such requests for good; the text says why and what to change."""


class NotDelivered(Exception):
    """Nothing could be posted for as long as patience lasts; run again to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where labels go: the server's address without a path, its model, the bearer token if it asks for one."""

    server: str
    model: str
    credential: str = ""
    patience_s: float = 300.0
    at_once: int = 4

    @property
    def url(self) -> str:
        """The feedback route."""
        return f"{self.server}/v2/models/{self.model}/feedback"


@dataclass(slots=True)
class Progress:
    """How far a run is."""

    posted: int = 0
    skipped: int = 0
    retries: int = 0
    results: Counter[str] = field(default_factory=Counter)


async def find_model(server: str) -> str:
    """The model a server serves. Raises `PostRefused` and `NotDelivered`."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10.0)) as session,
            session.get(f"{server}/v1/models") as response,
        ):
            models = (await response.json())["models"]
    except (aiohttp.ClientConnectionError, TimeoutError) as error:
        raise NotDelivered(f"{server}: cannot be reached ({error or 'no answer in 10 s'})") from error
    except (aiohttp.ClientError, ValueError, KeyError, TypeError) as error:
        raise PostRefused(f"{server}: does not say which model it serves ({error}); name it with --model") from error
    if not isinstance(models, list) or len(models) != 1:
        raise PostRefused(f"{server}: serves {models}; name one with --model")
    return str(models[0])


async def post_labels(
    target: Target,
    groups: Iterator[list[Label]],
    journal: Journal,
    report: Report,
    *,
    tell: Callable[[Progress], None] = lambda _: None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Progress:
    """Post everything the journal does not have. Raises `PostRefused`, `NotDelivered` and `LabelsRefused`."""
    run = _Run(target, journal, report, tell, monotonic)
    headers = {"authorization": f"Bearer {target.credential}"} if target.credential else {}
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(target.at_once):
                    tasks.create_task(run.work(session, groups))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # whichever worker failed first; the others were cancelled
    return run.progress


class _Run:
    """One run: what its workers share."""

    def __init__(
        self,
        target: Target,
        journal: Journal,
        report: Report,
        tell: Callable[[Progress], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._target = target
        self._journal = journal
        self._report = report
        self._tell = tell
        self._monotonic = monotonic
        self._moved_at = monotonic()
        self.progress = Progress()

    async def work(self, session: aiohttp.ClientSession, groups: Iterable[list[Label]]) -> None:
        """Post group after group; several workers share the iterator."""
        for group in groups:
            if self._journal.has(group):
                self.progress.skipped += len(group)
                continue
            readable = [label for label in group if not label.problem]
            answers = iter(await self._post(session, readable) if readable else ())
            for label in group:
                self._settle(label, {"result": UNREADABLE, "reason": label.problem} if label.problem else next(answers))
            # After the report: a crash between the two reports a row twice rather than never.
            self._journal.record(group)
            self._moved_at = self._monotonic()
            self._tell(self.progress)

    def _settle(self, label: Label, answer: dict[str, Any]) -> None:
        result = str(answer.get("result"))
        self.progress.posted += 1
        self.progress.results[result] += 1
        if result not in STORED:
            self._report.add(label, result, str(answer.get("cluster", "")), str(answer.get("reason", "")))

    async def _post(self, session: aiohttp.ClientSession, labels: list[Label]) -> list[dict[str, Any]]:
        body = orjson.dumps({"feedback": [label.posted() for label in labels]})
        failures, problem = 0, ""
        while True:
            wait_s = 0.0
            try:
                async with session.post(self._target.url, data=body) as response:
                    answer = await response.read()
                    if response.status == 200:
                        return _results(answer, len(labels))
                    problem = f"{response.status}: {_error(answer)}"
                    if response.status < 500 and response.status not in (408, 429):
                        raise PostRefused(f"{self._target.url} answered {problem}")
                    wait_s = _seconds(response.headers.get("retry-after", ""))
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = str(error) or type(error).__name__
            failures += 1
            self.progress.retries += 1
            self._tell(self.progress)
            if self._monotonic() - self._moved_at > self._target.patience_s:
                raise NotDelivered(f"nothing went forward for {self._target.patience_s:.0f} s ({problem})")
            growing = min(LONGEST_PAUSE_S, 0.25 * 2.0 ** min(failures, 10)) * (0.5 + random.random() / 2)  # noqa: S311
            await asyncio.sleep(max(min(wait_s, LONGEST_PAUSE_S), growing))


def _results(body: bytes, expected: int) -> list[dict[str, Any]]:
    try:
        results = orjson.loads(body)["results"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise PostRefused(f"the answer is no list of results ({error}); is this a Pilotage server?") from error
    if (
        not isinstance(results, list)
        or len(results) != expected
        or not all(isinstance(result, dict) for result in results)
    ):
        raise PostRefused(f"the answer has not one result for each of {expected} rows; is this a Pilotage server?")
    return results


def _error(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["error"])[:300]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return body[:200].decode(errors="replace")


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() else 0.0
