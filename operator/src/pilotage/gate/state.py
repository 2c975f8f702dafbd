"""The state of an analysis as immutable JSON: what is kept between two looks, and nothing else.

``State`` is a dictionary that cannot be changed; ``json.dumps`` writes it, ``State.from_dict`` reads it back, and both
ends are equal. ``Memory`` is the same thing typed, for the code that works on it. Knows no test and no verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from pilotage.gate.counts import Counts
from pilotage.gate.process import ProcessState, ScopeState

VERSION: Final = 1


class _FrozenList(list[Any]):
    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("the state of an analysis cannot be changed; Analysis.update returns the next one")

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = pop = remove = clear = sort = reverse = _refuse


class State(dict[str, Any]):
    """A read-only dictionary of JSON values. Equal to its own JSON; hashable it is not."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("the state of an analysis cannot be changed; Analysis.update returns the next one")

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = setdefault = pop = popitem = clear = _refuse

    def __copy__(self) -> "State":
        return self

    def __deepcopy__(self, memo: object) -> "State":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return State.from_dict, (self.to_dict(),)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists of the same content."""
        thawed: dict[str, Any] = _thaw(self)
        return thawed

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "State":
        """The state that ``json.loads`` (or ``to_dict``) gave; the analysis checks it when it uses it."""
        return cls({key: _freeze(value) for key, value in raw.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Labels and served rows of one cluster, both arms, since the start."""

    stable_labels: int = 0
    canary_labels: int = 0
    stable_served: int = 0
    canary_served: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GateMemory:
    """``question``: what these numbers are evidence about. ``total``: the gate's vector since the start. ``seed``:
    stable's history. ``step_from``: canary's and stable's labels when the weight last changed. ``trail``: (at, log
    e-value of the pass side), oldest first.
    """

    question: str
    total: Counts
    seed: Counts
    step_from: tuple[int, int]
    trail: tuple[tuple[float, float], ...]
    tests: Mapping[str, ProcessState]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Everything an analysis remembers. ``began`` and ``at``: times of the first and the last closed block."""

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
    traffic: Mapping[str, Traffic]
    gates: Mapping[str, GateMemory]


def encode(memory: Memory) -> State:
    """Typed to JSON. What is not known is left out: a null would be dropped on its way through an API server."""
    known = {"step": memory.step, "began": memory.began, "at": memory.at, "failed": memory.failed}
    return State.from_dict(
        {
            **{name: value for name, value in known.items() if value is not None},
            "version": VERSION,
            "plan": memory.plan,
            "classes": memory.classes,
            "shares": memory.shares,
            "wave": memory.wave,
            "waves": memory.waves,
            "stable": memory.stable,
            "starts": memory.starts,
            "traffic": {
                name: (t.stable_labels, t.canary_labels, t.stable_served, t.canary_served)
                for name, t in memory.traffic.items()
            },
            "gates": {name: _encode_gate(gate) for name, gate in memory.gates.items()},
        }
    )


def decode(state: Mapping[str, Any]) -> Memory:
    """JSON to typed. Raises ValueError for a state of another version or shape."""
    if state.get("version") != VERSION:
        raise ValueError(
            f"state.version: {state.get('version')!r} cannot be read; this code writes and reads {VERSION}"
        )
    try:
        return Memory(
            plan=state["plan"],
            classes=tuple(state["classes"]),
            shares=dict(state["shares"]),
            wave=state["wave"],
            waves=state["waves"],
            stable=state["stable"],
            step=state.get("step"),
            starts=state["starts"],
            began=state.get("began"),
            at=state.get("at"),
            failed=state.get("failed"),
            traffic={name: _decode_traffic(values) for name, values in state["traffic"].items()},
            gates={name: _decode_gate(gate) for name, gate in state["gates"].items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"state: not written by this code ({error!r}); start the analysis anew") from error


def _encode_gate(gate: GateMemory) -> dict[str, Any]:
    return {
        "question": gate.question,
        "total": _encode_counts(gate.total),
        "seed": _encode_counts(gate.seed),
        "stepFrom": gate.step_from,
        "trail": gate.trail,
        "tests": {name: _encode_test(test) for name, test in gate.tests.items()},
    }


def _decode_gate(raw: Mapping[str, Any]) -> GateMemory:
    canary, stable = raw["stepFrom"]
    return GateMemory(
        question=raw["question"],
        total=_decode_counts(raw["total"]),
        seed=_decode_counts(raw["seed"]),
        step_from=(canary, stable),
        trail=tuple((at, value) for at, value in raw["trail"]),
        tests={name: _decode_test(test) for name, test in raw["tests"].items()},
    )


def _encode_test(test: ProcessState) -> dict[str, Any]:
    mix, *clusters = test.scopes
    parts = _parts(mix.pending, len(clusters))
    return {
        "scale": test.scale,
        "pass": test.passing,
        "latched": test.latched,
        "stepBlocks": test.step_blocks,
        "scopes": [
            _encode_scope(mix, None),
            *(_encode_scope(scope, part) for scope, part in zip(clusters, parts, strict=True)),
        ],
    }


def _encode_scope(scope: ScopeState, part: Counts | None) -> dict[str, Any]:
    # Until a cluster closes a block before the mix does, its pending counts are the mix's own: written once.
    told = {"fail": scope.fail, "blocks": scope.blocks}
    return told if scope.pending == part else told | {"pending": _encode_counts(scope.pending)}


def _decode_test(raw: Mapping[str, Any]) -> ProcessState:
    mix, *clusters = raw["scopes"]
    pending = _decode_counts(mix["pending"])
    parts = _parts(pending, len(clusters))
    return ProcessState(
        scale=raw["scale"],
        passing=tuple(raw["pass"]),
        latched=raw["latched"],
        step_blocks=raw["stepBlocks"],
        scopes=(
            _decode_scope(mix, pending),
            *(_decode_scope(scope, part) for scope, part in zip(clusters, parts, strict=True)),
        ),
    )


def _decode_scope(raw: Mapping[str, Any], part: Counts) -> ScopeState:
    pending = _decode_counts(raw["pending"]) if "pending" in raw else part
    return ScopeState(pending=pending, fail=tuple(raw["fail"]), blocks=raw["blocks"])


def _parts(mix: Counts, clusters: int) -> list[Counts]:
    """The mix's pending counts cluster by cluster (wrong lengths, and so never equal, if a cluster has no share)."""
    size = len(mix.n) // clusters if clusters else 0
    return [mix.at(range(k * size, (k + 1) * size)) for k in range(clusters)]


def _encode_counts(counts: Counts) -> Sequence[Any]:
    """Trials and misses (they are shorter to write than successes), or just the length while nothing is counted."""
    if not any(counts.n):
        return (len(counts.n),)
    return (counts.n, tuple(map(int.__sub__, counts.n, counts.s)))


def _decode_counts(raw: Sequence[Any]) -> Counts:
    if len(raw) == 1:
        return Counts.zero(raw[0])
    trials, misses = raw
    return Counts(s=tuple(map(int.__sub__, trials, misses)), n=tuple(trials))


def _decode_traffic(raw: Sequence[int]) -> Traffic:
    stable_labels, canary_labels, stable_served, canary_served = raw
    return Traffic(
        stable_labels=stable_labels,
        canary_labels=canary_labels,
        stable_served=stable_served,
        canary_served=canary_served,
    )


def _freeze(value: Any) -> Any:
    if isinstance(value, Mapping):
        return State.from_dict(value)
    if isinstance(value, list | tuple):
        return _FrozenList(_freeze(item) for item in value)
    return value


def _thaw(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _thaw(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_thaw(item) for item in value]
    return value
