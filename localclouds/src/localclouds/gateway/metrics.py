"""What the gateway did, as counters in Prometheus' text format. Knows no connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

CLIENT_GONE = 499
"""Code for requests whose client left before the answer was complete."""


class Metrics:
    """Counts requests by route, backend (a Service) and code; a cut answer counts as 502, an unroutable
    request has no route.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.seconds: Counter[tuple[str, str]] = Counter()

    def count(self, route: str, backend: str, code: int, seconds: float) -> None:
        """A request is over."""
        self.requests[route, backend, code] += 1
        self.seconds[route, backend] += seconds  # type: ignore[assignment]  # typeshed: counts are ints

    def text(self, gauges: Mapping[str, float]) -> str:
        """All metrics; `gauges` are values of this moment."""
        lines = ["# TYPE gateway_requests_total counter"]
        for (route, backend, code), value in sorted(self.requests.items()):
            labels = _labels(("route", route), ("backend", backend), ("code", str(code)))
            lines.append(f"gateway_requests_total{labels} {value}")
        lines.append("# TYPE gateway_request_seconds_total counter")
        for (route, backend), spent in sorted(self.seconds.items()):
            labels = _labels(("route", route), ("backend", backend))
            lines.append(f"gateway_request_seconds_total{labels} {spent:.6f}")
        for name, gauge in gauges.items():
            lines += [f"# TYPE {name} gauge", f"{name} {gauge:g}"]
        return "\n".join(lines) + "\n"


def _labels(*pairs: tuple[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
