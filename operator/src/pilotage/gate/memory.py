"""What an analysis keeps between two looks, typed, and its JSON.

Sums of counts since the wave's start are kept once for all gates; engines keep only what sums cannot tell. What is not
known is left out of the JSON: a null would be dropped on its way through an API server. Knows no verdict.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pilotage.gate import conditions
from pilotage.gate.conditions import Conditions, Watched
from pilotage.gate.engine import Arms
from pilotage.gate.hypotheses import Tests
from pilotage.gate.state import State
from pilotage.gate.sums import sums_from_json, sums_to_json

VERSION: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class GateMemory:
    """``question``: what these numbers are evidence about. ``step_from``: canary's and stable's labels when the weight
    last changed. ``trail``: (at, log e-value of the pass side), oldest first. ``weighed``: kinds of the tests whose
    pass side has weighed a block of this attempt; ``latched``: of those, whose pass side has reached its threshold at
    some look. ``tests``: the engines' states by kind.
    """

    question: str
    step_from: tuple[int, int]
    trail: tuple[tuple[float, float], ...]
    weighed: frozenset[str]
    latched: frozenset[str]
    tests: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Everything an analysis remembers. ``began`` and ``at``: times of the first and the last closed block.

    ``sums``: counts since the wave's start; ``turned``: the same when the weight last changed, if an engine asks.
    ``waiting``: counts that the conditions have not compared yet, with the ``expected`` shares told with them.
    """

    plan: str
    classes: tuple[str, ...]
    shares: Mapping[str, float]
    wave: int
    waves: int
    stable: bool
    step: int | None
    starts: int
    began: float | None
    at: float | None
    failed: Mapping[str, Any] | None
    sums: Arms
    turned: Arms
    gates: Mapping[str, GateMemory]
    conditions: Conditions
    waiting: Arms
    expected: Mapping[str, float]


def encode(memory: Memory, tests: Tests, watched: Watched) -> State:
    """Typed to JSON."""
    known = {"step": memory.step, "began": memory.began, "at": memory.at, "failed": memory.failed}
    filled = {
        "turned": sums_to_json(memory.turned, memory.classes),
        "conditions": conditions.encode(memory.conditions, watched),
        "waiting": sums_to_json(memory.waiting, memory.classes),
        "expected": dict(memory.expected),
    }
    return State.from_dict(
        {
            **{name: value for name, value in known.items() if value is not None},
            **{name: value for name, value in filled.items() if value},
            "version": VERSION,
            "plan": memory.plan,
            "classes": memory.classes,
            "shares": memory.shares,
            "wave": memory.wave,
            "waves": memory.waves,
            "stable": memory.stable,
            "starts": memory.starts,
            "sums": sums_to_json(memory.sums, memory.classes),
            "gates": {name: _encode_gate(gate, tests, name) for name, gate in memory.gates.items()},
        }
    )


def head(state: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, float], bool]:
    """(classes, shares, whether there is a stable revision): what the tests follow from.

    Raises ValueError for a state of another version or shape.
    """
    if not isinstance(state, Mapping) or state.get("version") != VERSION:
        version = state.get("version") if isinstance(state, Mapping) else None
        raise ValueError(f"state.version: {version!r} cannot be read; this code writes and reads {VERSION}")
    try:
        return tuple(state["classes"]), dict(state["shares"]), bool(state["stable"])
    except (KeyError, TypeError, ValueError) as error:
        raise _foreign(error) from error


def decode(state: Mapping[str, Any], tests: Tests, watched: Watched) -> Memory:
    """JSON to typed. Raises ValueError for a state of another version or shape."""
    classes, shares, stable = head(state)
    try:
        return Memory(
            plan=state["plan"],
            classes=classes,
            shares=shares,
            wave=state["wave"],
            waves=state["waves"],
            stable=stable,
            step=state.get("step"),
            starts=state["starts"],
            began=state.get("began"),
            at=state.get("at"),
            failed=state.get("failed"),
            sums=sums_from_json(state["sums"], classes),
            turned=sums_from_json(state.get("turned", {}), classes),
            gates={name: _decode_gate(gate, tests, name) for name, gate in state["gates"].items()},
            conditions=conditions.decode(state.get("conditions", {}), watched),
            waiting=sums_from_json(state.get("waiting", {}), classes),
            expected=dict(state.get("expected", {})),
        )
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise _foreign(error) from error


def _foreign(error: Exception) -> ValueError:
    return ValueError(f"state: not written by this code ({error!r}); start the analysis anew")


def _encode_gate(gate: GateMemory, tests: Tests, name: str) -> dict[str, Any]:
    return {
        "question": gate.question,
        "stepFrom": gate.step_from,
        "trail": gate.trail,
        "weighed": sorted(gate.weighed),
        "latched": sorted(gate.latched),
        "tests": {test.kind.value: test.encode(gate.tests[test.kind.value]) for test in tests[name]},
    }


def _decode_gate(raw: Mapping[str, Any], tests: Tests, name: str) -> GateMemory:
    canary, stable = raw["stepFrom"]
    asked = {test.kind.value: test for test in tests.get(name, ())}
    return GateMemory(
        question=raw["question"],
        step_from=(canary, stable),
        trail=tuple((at, value) for at, value in raw["trail"]),
        weighed=frozenset(raw["weighed"]),
        latched=frozenset(raw["latched"]),
        tests={kind: asked[kind].decode(held) for kind, held in raw["tests"].items() if kind in asked},
    )
