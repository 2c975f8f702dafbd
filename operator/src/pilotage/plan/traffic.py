"""What one cluster should serve (`Want`) and the next safe step there from what it shows (`Layout`).

Rules, in both modes: traffic moves only to ready pods; an arm shrinks or goes only after traffic has left it; a Service
that carries traffic never changes what it selects. So every layout is safe to apply at any moment, and repeating
"look, lay out, apply" ends where `Want` says. Knows no wave, verdict or time. Source: design.md §5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil, floor

from pilotage.api import names
from pilotage.api.types import TrafficMode
from pilotage.plan.views import BOTH, Sight


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """Serve `base`; with a `canary`, give it `weight` percent (100: all of it, `base` kept warm).

    `base_needs` is how many ready pods of `base` traffic may move to: all of them when it is new, one when it is the
    way back from something worse. `is_full`: the canary has passed and `base` keeps but the holdback's share, so the
    canary has all its pods.
    """

    base: str
    canary: str | None = None
    weight: int = 0
    base_needs: int = 1
    is_full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What to apply now: pods per revision, what each Service selects, the route's weights, what may go.

    `in_effect`: the cluster already is as wanted, and ready. `clean`: all traffic goes where it should and no other arm
    is left, ready or not. `stuck`: traffic should move, but nothing ready can take it.
    """

    sizes: Mapping[str, int]
    selectors: Mapping[str, str]
    weights: tuple[int, int] | None = None
    done_with: frozenset[str] = field(default_factory=frozenset)
    in_effect: bool = False
    clean: bool = False
    stuck: bool = False


def lay_out(sight: Sight, want: Want, *, mode: TrafficMode, deployment: str, replicas: int) -> Layout:
    """The next safe step towards `want`."""
    match mode:
        case TrafficMode.GATEWAY:
            return _by_gateway(sight, want, deployment, replicas)
        case TrafficMode.REPLICAS:
            return _by_replicas(sight, want, deployment, replicas)


def canary_replicas(replicas: int, weight: int) -> int:
    """Replica-ratio traffic: max(1, round(N·w/100)), halves up."""
    return max(1, floor(replicas * weight / 100 + 0.5))


def canary_capacity(replicas: int, weight: int) -> int:
    """Gateway traffic: pods enough for the share, while stable keeps all of its own."""
    return min(replicas, max(1, ceil(replicas * weight / 100)))


def realised_share(mode: TrafficMode, replicas: int, want: Want) -> float:
    """The canary's share of the requests that a mode can realise while both arms serve."""
    if mode is TrafficMode.GATEWAY or want.weight == 100:
        return want.weight / 100
    canary, base = _pods(replicas, want)
    return canary / (canary + base)


def holdback_replicas(replicas: int, holdback: int) -> int:
    """Replica-ratio traffic beside a full canary: the number of pods whose share comes nearest, at least one."""
    ideal = floor(replicas * holdback / (100 - holdback))
    return max(1, min((ideal, ideal + 1), key=lambda pods: abs(pods / (replicas + pods) - holdback / 100)))


# ------------------------------------------------------------------------------------------------------------- Gateway


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slots:
    """What the two Services select and how the route divides requests between them."""

    stable: str
    canary: str
    weights: tuple[int, int]


def _by_gateway(sight: Sight, want: Want, deployment: str, replicas: int) -> Layout:
    stable_name, canary_name = names.stable_service(deployment), names.canary_service(deployment)
    aside = want.canary or want.base
    live = _Slots(
        stable=sight.selectors.get(stable_name, want.base),
        canary=sight.selectors.get(canary_name, aside),
        weights=sight.route.weights if sight.route else (100, 0),
    )
    taken = sight.route is None or sight.route.in_effect
    needed = _needed(replicas, want) if want.canary else 0
    after = _next_slots(sight, want, live, taken=taken, needed=needed)
    final = _Slots(stable=want.base, canary=aside, weights=(100 - want.weight, want.weight))
    sizes = {want.base: replicas}
    if want.canary:
        served = live.weights[1] if live.canary == want.canary else 0
        sizes[want.canary] = max(needed, canary_capacity(replicas, served) if served else 0)
    free = set(sight.arms) - set(sizes)
    if not (taken and live.stable == after.stable and live.weights == after.weights):
        free = set()
    free -= {live.stable, live.canary}
    ready = sight.ready(want.canary) >= needed and (want.weight == 100 or sight.ready(want.base) >= replicas)
    exists = sight.route is not None and {stable_name, canary_name} <= set(sight.selectors)
    return Layout(
        sizes=_with_leftovers(sight, sizes, free),
        selectors={stable_name: after.stable, canary_name: after.canary},
        weights=after.weights,
        done_with=frozenset(free),
        in_effect=exists and taken and live == final and ready,
        clean=exists and taken and live == final and set(sight.arms) <= set(sizes),
        stuck=live == after and live != final and sight.ready(want.base) < want.base_needs and exists,
    )


def _needed(replicas: int, want: Want) -> int:
    return replicas if want.is_full else canary_capacity(replicas, want.weight)


def _next_slots(sight: Sight, want: Want, live: _Slots, *, taken: bool, needed: int) -> _Slots:
    """One move. A Service changes its selection only while its weight is 0 and the gateway knows that."""
    to_stable, to_canary = live.weights
    base_ready = sight.ready(want.base) >= want.base_needs
    aside = want.canary or want.base
    if live.stable != want.base:
        if to_stable == 0:
            return _Slots(stable=want.base, canary=live.canary, weights=live.weights) if taken else live
        if live.canary == want.base:
            return _Slots(stable=live.stable, canary=live.canary, weights=(0, 100)) if base_ready else live
        if to_canary == 0:
            return _Slots(stable=live.stable, canary=want.base, weights=live.weights) if taken else live
        return _Slots(stable=live.stable, canary=live.canary, weights=(100, 0)) if sight.ready(live.stable) else live
    if live.canary != aside:
        if to_canary == 0:
            return _Slots(stable=live.stable, canary=aside, weights=live.weights) if taken else live
        return _Slots(stable=live.stable, canary=live.canary, weights=(100, 0)) if base_ready else live
    wanted = (100 - want.weight, want.weight)
    canary_ready = want.weight <= to_canary or sight.ready(want.canary) >= needed
    base_can = wanted[0] <= to_stable or base_ready
    return _Slots(stable=live.stable, canary=live.canary, weights=wanted if canary_ready and base_can else live.weights)


# ------------------------------------------------------------------------------------------------------------ Replicas


def _by_replicas(sight: Sight, want: Want, deployment: str, replicas: int) -> Layout:
    live = sight.selectors.get(deployment)
    if want.canary is None:
        return _base_only(sight, want, deployment, replicas, live)
    if set(sight.arms) - {want.base, want.canary}:
        # A third arm would share the traffic too: everything back to base first.
        return replace(_base_only(sight, want, deployment, replicas, live), in_effect=False, clean=False)
    if want.weight == 100:
        return _canary_only(sight, want, want.canary, deployment, replicas, live)
    return _shared(sight, want, want.canary, deployment, replicas, live)


def _base_only(sight: Sight, want: Want, deployment: str, replicas: int, live: str | None) -> Layout:
    may_move = live is None or live == want.base or sight.ready(want.base) >= want.base_needs
    free = set(sight.arms) - {want.base} if live == want.base else set()
    sizes = {want.base: replicas}
    return Layout(
        sizes=_with_leftovers(sight, sizes, free),
        selectors={deployment: want.base if may_move else live or want.base},
        done_with=frozenset(free),
        in_effect=live == want.base and sight.ready(want.base) >= replicas,
        clean=live == want.base and set(sight.arms) <= set(sizes),
        stuck=not may_move,
    )


def _canary_only(sight: Sight, want: Want, canary: str, deployment: str, replicas: int, live: str | None) -> Layout:
    may_move = live == canary or sight.ready(canary) >= replicas
    # Warm again at full size, but only once it no longer takes a share of the traffic by its number of pods.
    base = replicas if live == canary else sight.replicas(want.base) or replicas
    sizes = {want.base: base, canary: replicas}
    return Layout(
        sizes=_with_leftovers(sight, sizes, set()),
        selectors={deployment: canary if may_move else live or want.base},
        in_effect=live == canary and sight.ready(canary) >= replicas,
    )


def _shared(sight: Sight, want: Want, canary: str, deployment: str, replicas: int, live: str | None) -> Layout:
    more, less = _pods(replicas, want)
    now_more, now_less = sight.replicas(canary), sight.replicas(want.base) or replicas
    canary_ready = sight.ready(canary) >= more
    share = live == BOTH or canary_ready
    sizes = {
        canary: more if now_more <= more or sight.ready(want.base) >= less else now_more,
        want.base: less if now_less <= less or (live == BOTH and canary_ready) else now_less,
    }
    exact = all(sight.replicas(arm) == sight.ready(arm) == size for arm, size in ((canary, more), (want.base, less)))
    return Layout(
        sizes=_with_leftovers(sight, sizes, set()),
        selectors={deployment: BOTH if share else live or want.base},
        in_effect=live == BOTH and exact,
    )


def _pods(replicas: int, want: Want) -> tuple[int, int]:
    """Pods of canary and base that share the traffic."""
    if want.is_full:
        return replicas, holdback_replicas(replicas, 100 - want.weight)
    more = canary_replicas(replicas, want.weight)
    return more, max(1, replicas - more)


def _with_leftovers(sight: Sight, sizes: Mapping[str, int], free: set[str]) -> dict[str, int]:
    """Arms that still serve keep the pods they have."""
    kept = {arm.revision: arm.replicas for arm in sight.arms.values() if arm.revision not in {*sizes, *free}}
    return {**sizes, **kept}
