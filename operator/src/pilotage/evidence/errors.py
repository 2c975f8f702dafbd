"""Why a question to Prometheus got no usable answer.

    FetchFailed                 no answer that can be counted
    ├── Unreachable             nobody answered: connection, TLS, deadline
    ├── Refused                 Prometheus answered with an error (its words are in the message)
    └── Malformed               an answer that is not Prometheus' (a proxy's page, a truncated or oversized body)

The transport raises the first two; `promql.parse` the third. Each names the address or the rule, never a credential.
"""

from __future__ import annotations


class FetchFailed(Exception):
    """No answer that can be counted."""


class Unreachable(FetchFailed):
    """Nobody answered in time."""


class Refused(FetchFailed):
    """Prometheus answered with an error."""


class Malformed(FetchFailed):
    """The answer is not one of Prometheus' query API."""
