"""Recorded counts through the gate: what it would have said at each look, and why.

A recording is JSON lines. The first may be a header `{"classes": […], "shares": {cluster: W}, "history": {…}}`; every
other line is one block `{"at": seconds, "clusters": {name: {"stable": counts, "canary": counts}}, "step": n}` with the
increments since the line before. Without a header the classes are those that occur, a cluster's share is that of its
rows. Mistakes name the line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pilotage.gate import Analysis, Outcome, Verdict

_HEADER_KEYS = ("classes", "shares", "history", "wave", "waves")


class RecordingError(ValueError):
    """The recording is not what the format says; the text names the line, the field and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One wave as it happened."""

    classes: tuple[str, ...]
    shares: Mapping[str, float]
    blocks: Sequence[Mapping[str, Any]]
    history: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    wave: int = 1
    waves: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A look at which a gate, or the whole, said something else than before. `gate` is "" for the whole."""

    at: float
    gate: str
    state: str
    reason: str
    log_e_pass: float | None
    log_e_fail: float | None
    labels: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """`trail[gate]`: (at, log e of the pass side, log e of the fail side) at every look; `turns` in order of time.

    `decided`: the first Pass or Fail and its time; later blocks are still replayed. `last`: the verdict at the end.
    """

    turns: tuple[Turn, ...]
    trail: Mapping[str, Sequence[tuple[float, float, float]]]
    decided: tuple[str, float] | None
    last: Verdict
    blocks: int


def decode_recording(lines: Iterable[str]) -> Recording:
    """Read JSON lines; raises RecordingError."""
    header: Mapping[str, Any] = {}
    blocks: list[Mapping[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        entry = _entry(number, line)
        if "at" not in entry and not blocks and not header:
            header = _header(number, entry)
        elif "at" in entry:
            blocks.append(_block(number, entry, blocks[-1]["at"] if blocks else None))
        else:
            raise RecordingError(f"line {number}: at: missing; a block needs its time in seconds, a header comes first")
    if not blocks:
        raise RecordingError("the recording has no block; write one JSON object per line with at and clusters")
    return Recording(
        classes=tuple(header.get("classes") or _classes(blocks)),
        shares=header.get("shares") or _shares(blocks),
        history=header.get("history", {}),
        blocks=blocks,
        wave=header.get("wave", 1),
        waves=header.get("waves", 1),
    )


def replayed(analysis: Analysis, recording: Recording) -> Replay:
    """Every block through the gate; GateSpecError and BlockError as the analysis raises them."""
    state = analysis.start(
        recording.classes,
        recording.shares,
        history=recording.history,
        wave=recording.wave,
        waves=recording.waves,
    )
    verdict = analysis.verdict(state)
    turns: list[Turn] = []
    trail: dict[str, list[tuple[float, float, float]]] = {name: [] for name in verdict.gates}
    said: dict[str, tuple[str, str]] = {}
    decided: tuple[str, float] | None = None
    for block in recording.blocks:
        state = analysis.update(state, block)
        verdict = analysis.verdict(state)
        at = float(block["at"])
        turns += [turn for turn in _turns(at, verdict) if _is_news(said, turn)]
        for name, gate in verdict.gates.items():
            trail[name].append((at, gate.log_e_pass, gate.log_e_fail))
        if decided is None and verdict.state in (Outcome.PASS, Outcome.FAIL):
            decided = (str(verdict.state), at)
    return Replay(turns=tuple(turns), trail=trail, decided=decided, last=verdict, blocks=len(recording.blocks))


def _turns(at: float, verdict: Verdict) -> list[Turn]:
    found = [
        Turn(
            at=at,
            gate=name,
            state=str(gate.state),
            reason=gate.reason,
            log_e_pass=gate.log_e_pass,
            log_e_fail=gate.log_e_fail,
            labels=sum(gate.labels["canary"].values()),
        )
        for name, gate in verdict.gates.items()
    ]
    overall = Turn(
        at=at,
        gate="",
        state=str(verdict.state),
        reason=verdict.reason,
        log_e_pass=None,
        log_e_fail=None,
        labels=None,
    )
    return [*found, overall]


def _is_news(said: dict[str, tuple[str, str]], turn: Turn) -> bool:
    """A change of state, or of the reason's words; numbers alone are no news."""
    words = "".join(c for c in turn.reason if not c.isdigit()) if turn.gate else ""
    if said.get(turn.gate) == (turn.state, words):
        return False
    said[turn.gate] = (turn.state, words)
    return True


def _entry(number: int, line: str) -> Mapping[str, Any]:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise RecordingError(f"line {number}: not JSON ({error}); write one JSON object per line") from error
    if not isinstance(entry, dict):
        raise RecordingError(f'line {number}: {line.strip()[:40]!r} is not an object; write {{"at": …, "clusters": …}}')
    return entry


def _header(number: int, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in entry:
        if key not in _HEADER_KEYS:
            raise RecordingError(f"line {number}: {key}: unknown in a header; known here: {', '.join(_HEADER_KEYS)}")
    return entry


def _block(number: int, entry: Mapping[str, Any], before: float | None) -> Mapping[str, Any]:
    at = entry["at"]
    if isinstance(at, bool) or not isinstance(at, int | float):
        raise RecordingError(f"line {number}: at: {at!r} is not a time; give seconds as a number")
    if before is not None and at < before:
        raise RecordingError(f"line {number}: at: {at:g} is before {before:g}; sort the blocks by time")
    if not isinstance(entry.get("clusters"), dict):
        raise RecordingError(f"line {number}: clusters: missing; give {{cluster: {{stable: counts, canary: counts}}}}")
    return entry


def _classes(blocks: Iterable[Mapping[str, Any]]) -> list[str]:
    found: set[str] = set()
    for counts in _counts(blocks):
        for table in (counts.get("confusion", {}), counts.get("audit", {})):
            found.update(table, *table.values())
        found.update(counts.get("served", {}))
    if len(found) < 2:
        raise RecordingError(f"classes: only {sorted(found)} occur in the blocks; write a header with all classes")
    return sorted(found)


def _shares(blocks: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for block in blocks:
        for name, arms in block["clusters"].items():
            for counts in arms.values():
                served = sum(counts.get("served", {}).values())
                rows = served or sum(sum(row.values()) for row in counts.get("confusion", {}).values())
                found[name] = found.get(name, 0.0) + rows
    return found


def _counts(blocks: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    return (counts for block in blocks for arms in block["clusters"].values() for counts in arms.values())
