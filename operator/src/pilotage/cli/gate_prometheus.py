"""A recording out of Prometheus: the blocks that the operator would have read in a range of time, through
`pilotage.evidence`, so that they are counted in the same way.

Times given are those of predictions; their labels count `labelDelay` later. Predictions within 15 s of a change of
weight are left out, as in a rollout. What cannot be counted exactly is an error here, never a smaller count.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from typer import Option

from pilotage import evidence
from pilotage.api.times import parse_duration, parse_time
from pilotage.cli.errors import OutOfReach, Usage
from pilotage.cli.gate_specs import GateFile
from pilotage.gate import Analysis
from pilotage.plan.counting import arm, arms, needs_of
from pilotage.trials import Recording

GUARD_S = 15.0
HISTORY_S = 3600.0
_TIMEOUT_S = 20.0
_LARGEST = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where recorded counts are, as the options say; without `prometheus` they are in a file."""

    prometheus: Annotated[
        list[str] | None, Option(help="Instead of RECORDING: cluster=URL of its Prometheus; repeatable.")
    ] = None
    model: Annotated[str | None, Option(help="Name of the ModelDeployment.")] = None
    namespace: Annotated[str, Option("--namespace", "-n", help="Its namespace.")] = "default"
    stable: Annotated[str | None, Option(help="Revision to compare with.")] = None
    canary: Annotated[str | None, Option(help="Revision on trial.")] = None
    begins: Annotated[str | None, Option("--from", help="First prediction, 2027-01-08T08:00:00Z.")] = None
    ends: Annotated[str | None, Option("--to", help="Last prediction. Default: the newest mature one.")] = None
    step_at: Annotated[list[str] | None, Option(help="When a weight changed; repeatable.")] = None
    interval: Annotated[str, Option(help="Length of a block.")] = "1m"
    delay: Annotated[str | None, Option("--label-delay", help="Default: feedback.labelDelay.")] = None
    token_file: Annotated[str | None, Option(help="File with a bearer token for Prometheus.")] = None
    record: Annotated[str | None, Option(help="Write the counts read to this file, as JSON lines.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The source, checked."""

    urls: Mapping[str, str]
    model: str
    namespace: str
    stable: str
    canary: str
    edges: Sequence[float]
    interval_s: float
    delay_s: float
    headers: Mapping[str, str] = field(default_factory=dict)


def record(source: Source, file: GateFile) -> Recording:
    """Read the range from every cluster's Prometheus; Usage or OutOfReach."""
    asked = _checked(source, file)
    recording = asyncio.run(_recorded(asked, file.analysis))
    if source.record is not None:
        lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in _lines(recording))
        Path(source.record).write_text("".join(lines), encoding="utf-8")
    return recording


async def _recorded(asked: _Asked, analysis: Analysis) -> Recording:
    history, shares, classes = {}, {}, set[str]()
    blocks: list[dict[str, Any]] = []
    for cluster in asked.urls:
        past = await _answer(asked, _query(asked, cluster, analysis, asked.stable, None, _history_window(asked)))
        history[cluster] = [{"confusion": arm(analysis, past.canary)["confusion"]}]
        served, labelled = past.canary.served.values(), past.canary.confusion.values()
        shares[cluster] = float(sum(served) or sum(sum(row.values()) for row in labelled))
        blocks += [block async for block in _cluster_blocks(asked, cluster, analysis)]
    if not blocks:
        revisions = f"{asked.stable} and {asked.canary} of {asked.namespace}/{asked.model}"
        raise OutOfReach(
            f"no scrape of {revisions} between --from and --to in {', '.join(asked.urls)}; "
            "check names, times and retention"
        )
    for block in blocks:
        for both in block["clusters"].values():
            for counts in both.values():
                classes.update(counts["confusion"], *counts["confusion"].values(), counts.get("served", ()))
    if not any(shares.values()):
        shares = dict.fromkeys(shares, 1.0)
    return Recording(
        classes=tuple(sorted(classes)),
        shares=shares,
        history=history,
        blocks=sorted(blocks, key=lambda block: (block["at"], block["step"])),
    )


async def _cluster_blocks(asked: _Asked, cluster: str, analysis: Analysis) -> Any:
    for step, opens, closes in _windows(asked):
        since: evidence.Boundary | None = None
        until = min(opens + asked.interval_s, closes)
        while True:
            window = evidence.Window(step=step, opens=opens, closes=until)
            block = await _answer(asked, _query(asked, cluster, analysis, asked.canary, asked.stable, window, since))
            if block.boundary.checksum and (since is None or block.boundary.at > since.at):
                since = block.boundary
                yield {"at": since.at, "step": step, "clusters": {cluster: arms(analysis, block)}}
            if until >= closes:
                break
            until = min(until + asked.interval_s, closes)


async def _answer(asked: _Asked, query: evidence.BlockQuery) -> evidence.Block:
    async def fetch(cluster: str, promql: str, at: float | None) -> bytes:
        return await asyncio.to_thread(_fetched, asked.urls[cluster], asked.headers, promql, at)

    reading = await evidence.answer(query, fetch, time.time())
    match reading:
        case evidence.Block():
            return reading
        case evidence.Unavailable(reason=reason, message=message):
            raise OutOfReach(f"{reason}: {message}")
    raise AssertionError("a block query is answered by a block")


def _query(
    asked: _Asked,
    cluster: str,
    analysis: Analysis,
    canary: str,
    stable: str | None,
    window: evidence.Window,
    since: evidence.Boundary | None = None,
) -> evidence.BlockQuery:
    return evidence.BlockQuery(
        cluster=cluster,
        namespace=asked.namespace,
        model=asked.model,
        wave="replay",
        stable=stable,
        canary=canary,
        window=window,
        since=since,
        label_delay_s=asked.delay_s,
        needs=needs_of(analysis),
    )


def _windows(asked: _Asked) -> Iterator[tuple[int, float, float]]:
    """(step, from, to) in maturity time, the guard around each change of weight left out."""
    last = len(asked.edges) - 2
    for step, (begins, ends) in enumerate(zip(asked.edges, asked.edges[1:], strict=False)):
        opens = begins + asked.delay_s + (GUARD_S if step > 0 else 0.0)
        yield step, opens, ends + asked.delay_s - (GUARD_S if step < last else 0.0)


def _history_window(asked: _Asked) -> evidence.Window:
    ends = asked.edges[0] + asked.delay_s
    return evidence.Window(step=0, opens=ends - HISTORY_S, closes=ends)


def _fetched(url: str, headers: Mapping[str, str], promql: str, at: float | None) -> bytes:
    asked = {"query": promql} | ({} if at is None else {"time": f"{at:.3f}"})
    request = Request(f"{url.rstrip('/')}/api/v1/query", data=urlencode(asked).encode(), headers=dict(headers))  # noqa: S310 (http or https: checked)
    try:
        with urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310 (checked)
            body: bytes = response.read(_LARGEST + 1)
    except HTTPError as error:
        raise evidence.Refused(f"{url} answers {error.code}: {error.read(200).decode(errors='replace')}") from error
    except (URLError, OSError) as error:
        raise evidence.Unreachable(f"{url}: {error}") from error
    if len(body) > _LARGEST:
        raise evidence.Refused(f"{url}: an answer is larger than 8 MiB; ask for a shorter range")
    return body


def _checked(source: Source, file: GateFile) -> _Asked:
    for option, value in (("--model", source.model), ("--stable", source.stable), ("--canary", source.canary)):
        if value is None:
            raise Usage(f"{option}: missing; with --prometheus name the model, its stable and its canary revision")
    delay_s = _duration("--label-delay", source.delay) if source.delay else file.label_delay_s or 0.0
    if source.begins is None:
        raise Usage("--from: missing; write when the rollout began, such as 2027-01-08T08:00:00Z")
    ends = _time("--to", source.ends) if source.ends else time.time() - delay_s
    edges = sorted([_time("--from", source.begins), *(_time("--step-at", at) for at in source.step_at or ()), ends])
    if edges[-1] != ends or edges[0] != _time("--from", source.begins) or len(set(edges)) != len(edges):
        raise Usage("--from, --step-at, --to: out of order; the times of weights lie between the first and the last")
    return _Asked(
        urls=dict(_url(each) for each in source.prometheus or ()),
        model=str(source.model),
        namespace=source.namespace,
        stable=str(source.stable),
        canary=str(source.canary),
        edges=edges,
        interval_s=_duration("--interval", source.interval),
        delay_s=delay_s,
        headers=_credentials(source.token_file),
    )


def _url(text: str) -> tuple[str, str]:
    cluster, equals, url = text.partition("=")
    if not equals or not url.startswith(("http://", "https://")):
        raise Usage(f"--prometheus: {text!r} is not cluster=URL; write for example aws=https://prometheus.example.com")
    return cluster, url


def _credentials(token_file: str | None) -> dict[str, str]:
    if token_file is None:
        return {}
    try:
        return {"Authorization": f"Bearer {Path(token_file).read_text(encoding='utf-8').strip()}"}
    except OSError as error:
        raise Usage(f"--token-file: {token_file} cannot be read: {error.strerror}") from error


def _time(option: str, text: str) -> float:
    try:
        return parse_time(text)
    except ValueError as error:
        raise Usage(f"{option}: {text!r} is not a time; write it like 2027-01-08T08:00:00Z") from error


def _duration(option: str, text: str) -> float:
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise Usage(f"{option}: {error}") from error
    if found <= 0 and option == "--interval":
        raise Usage(f"--interval: {text!r} is no length of time; write for example 1m")
    return found


def _lines(recording: Recording) -> Iterator[Mapping[str, Any]]:
    yield {"classes": recording.classes, "shares": recording.shares, "history": recording.history}
    yield from recording.blocks
