"""Decisions as a story people can read: what was decided, said and asked for, moment by moment, with models by tag.

0:05:10  Progressing  first 1/2 at 10 · Inconclusive
         StepObserved: Weight 10 is in effect in aws.
         aws: v1×3 v2×1, route v1 90 v2 10
"""

from __future__ import annotations

import re

from pilotage.api import names
from pilotage.evidence.reading import BaselineQuery
from pilotage.plan import Decision, Intent, Observed
from support.builders import tag_of

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}")
_BOUNDS = re.compile(r"\[-?\d\.\d+, -?\d\.\d+\]|(?<=by then: )\d\.\d+")
"""What the gate computes and its own tests check: a third digit is no other story."""


class Storyline:
    """Lines, one group for each moment at which something new was decided."""

    def __init__(self, beginning: float) -> None:
        self.beginning = beginning
        self.lines: list[str] = []
        self._tags: dict[str, str] = {}
        self._last: dict[str, str] = {}

    def __str__(self) -> str:
        return "\n".join(self.lines) + "\n"

    def say(self, now: float, words: str) -> None:
        """Something that people or fate did."""
        self.lines.append(f"{self._clock(now)}  > {words}")

    def tell(self, now: float, observed: Observed, decision: Decision) -> None:
        """What is new in a decision."""
        revisions = [*observed.revisions.values(), *decision.create]
        self._tags |= {revision.metadata.name: tag_of(revision.model.bundle) for revision in revisions}
        told = [self.shorten(f"{event.reason}: {event.note}") for event in decision.events]
        told += self._conditions(decision)
        told += [line for name, intent in sorted(decision.intents.items()) if (line := self._news(name, intent))]
        head = self._head(decision)
        if self._is_news("head", head) or told:
            self.lines.append(f"{self._clock(now)}  {head}")
            self.lines += [f"         {line}" for line in told]

    def asked(self, decision: Decision) -> list[str]:
        """The queries of a decision, in words."""
        return [
            f"ask {query.cluster} for {'its baseline' if isinstance(query, BaselineQuery) else query.wave}"
            for query in decision.queries
        ]

    def _head(self, decision: Decision) -> str:
        status = decision.status
        step = f"  {status.step} at {status.weight}" if status.step else ""
        verdict = f" · {status.verdict}" if status.verdict else ""
        return self.shorten(f"{status.phase}{step}{verdict}  ({status.message})")

    def _conditions(self, decision: Decision) -> list[str]:
        return [
            line
            for condition in decision.status.conditions
            if condition.type != "Progressing"
            and self._is_news(condition.type, line := f"[{condition.type}={condition.status} {condition.reason}]")
        ]

    def _news(self, name: str, intent: Intent) -> str:
        line = self._intent(intent)
        return f"{name}: {line}" if self._is_news(f"intent {name}", line) else ""

    def _intent(self, intent: Intent) -> str:
        arms, services, route = [], {}, ""
        for obj in intent.apply:
            name = obj["metadata"]["name"]
            match obj["kind"]:
                case "Deployment":
                    arms.append(f"{self._tag(name)}×{obj['spec']['replicas']}")
                case "Service" if not name.endswith("-collector"):
                    services[name] = self._tag(obj["spec"]["selector"].get(names.REVISION_LABEL, "both"))
                case "HTTPRoute":
                    backends = obj["spec"]["rules"][0]["backendRefs"]
                    route = ", route " + " ".join(f"{services[b['name']]} {b['weight']}" for b in backends)
        plain = "" if route else "".join(f", service {selected}" for selected in services.values())
        deleted = ", ".join(f"{kind} {self._tag(name)}" for kind, name in intent.delete)
        return " ".join(sorted(arms)) + route + plain + (f" delete {deleted}" if deleted else "")

    def shorten(self, text: str) -> str:
        """Revisions by the tags of their bundles."""
        for name, tag in self._tags.items():
            text = text.replace(name, tag)
        return _BOUNDS.sub("[…]", _DIGEST.sub("", text))

    def _tag(self, name: str) -> str:
        return self._tags.get(name, name)

    def _is_news(self, key: str, line: str) -> bool:
        if self._last.get(key) == line:
            return False
        self._last[key] = line
        return True

    def _clock(self, now: float) -> str:
        passed = round(now - self.beginning)
        return f"{passed // 3600}:{passed // 60 % 60:02}:{passed % 60:02}"
