"""Metric families as the text Prometheus reads, in its own format and in OpenMetrics. Pure: lines in, bytes out.

Written here because a scrape of a collector is thousands of lines that differ in few places: with the labels a
revision shares written once, a line costs a tenth of what `prometheus_client` takes, whose output this equals.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What Prometheus calls a family's type."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name without `_total`, its type, and what it counts."""

    name: str
    kind: Kind
    text: str

    def line(self, labels: str, value: float, suffix: str = "") -> str:
        """One sample; `labels` as `labelled` writes them, `suffix` of summaries and histograms."""
        suffix = "_total" if self.kind is Kind.COUNTER else suffix
        return f"{self.name}{suffix}{{{labels}}} {number(value)}"


def labelled(**values: str) -> str:
    """Labels as a line holds them. A name that Python keeps for itself takes an underscore at its end."""
    return ",".join([f'{name.rstrip("_")}="{_escaped(value)}"' for name, value in values.items()])


def number(value: float) -> str:
    """A value as both formats write it; integers are exact, however large."""
    if isinstance(value, int):
        return str(value)
    if value != value:
        return "NaN"
    return {float("inf"): "+Inf", float("-inf"): "-Inf"}.get(value) or repr(value)


def page(families: Mapping[Family, Sequence[str]], *, is_openmetrics: bool) -> str:
    """All families, each with its lines; without the end mark of OpenMetrics, so that others can follow."""
    return "".join(_block(family, lines, is_openmetrics) for family, lines in families.items())


def _block(family: Family, lines: Iterable[str], is_openmetrics: bool) -> str:
    # OpenMetrics names the family, the older format the counter's samples.
    is_total = family.kind is Kind.COUNTER and not is_openmetrics
    name = f"{family.name}_total" if is_total else family.name
    text = family.text.replace("\\", "\\\\").replace("\n", "\\n")
    return "\n".join([f"# HELP {name} {text}", f"# TYPE {name} {family.kind}", *lines, ""])


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
