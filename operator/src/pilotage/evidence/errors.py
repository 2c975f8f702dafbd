"""Why a question to Prometheus got no usable answer.

    FetchFailed                 no answer that can be counted
    ├── Unreachable             nobody answered: connection, TLS, deadline
    ├── Refused                 Prometheus answered with an error (its words are in the message)
    │   └── TooLarge            the answer would be larger than either side takes: ask for less time at once
    ├── Malformed               an answer that is not Prometheus' (a proxy's page, a truncated body)
    ├── NoSeries                what should be counted is not there, or not fresh
    ├── WrongDelay              the collector works with another labelDelay than the spec
    ├── Skew                    Prometheus' clock is not ours
    └── PastChanged             what was read before is not there any more, or two scrapers disagree

The transport raises the first two, `promql.parse` what an answer says; the rest come from the readers here. Each names
the address or the rule, never a credential.
"""

from __future__ import annotations


class FetchFailed(Exception):
    """No answer that can be counted."""


class Unreachable(FetchFailed):
    """Nobody answered in time."""


class Refused(FetchFailed):
    """Prometheus answered with an error."""


class TooLarge(Refused):
    """The answer holds more samples or bytes than Prometheus gives or we take."""


class Malformed(FetchFailed):
    """The answer is not one of Prometheus' query API."""


class NoSeries(FetchFailed):
    """What should be counted is not there, or not fresh."""


class WrongDelay(FetchFailed):
    """The collector works with another labelDelay than the spec."""


class Skew(FetchFailed):
    """Prometheus' clock is not ours."""


class PastChanged(FetchFailed):
    """What was read before is not there any more, a counter fell, or two scrapers of one process disagree."""
