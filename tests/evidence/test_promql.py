"""What we ask and how answers are read, whatever comes back."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.evidence import Malformed, Refused, promql
from pilotage.evidence.errors import PastChanged
from pilotage.evidence.ledger import Cell, checksum, counters, increments, verify

cell = st.builds(
    Cell,
    st.sampled_from(["l1", "l2"]),
    st.sampled_from(["r1", "r2"]),
    st.sampled_from(["matured", "audit"]),
    st.tuples(st.sampled_from("ab"), st.sampled_from("ab")),
)
tables = st.dictionaries(cell, st.integers(0, 50), max_size=8)


def test_expressions_are_what_prometheus_expects():
    asked = promql.last_values("m_total", ("a", "b"), 12.3456, model='di"gits', revision="x|y")

    assert asked == 'max by (a,b) (last_over_time(m_total{model="di\\"gits",revision=~"x|y"}[12346ms]))'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"status":"success"}',
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}',
    ],
)
def test_what_is_not_prometheus_answer_is_malformed(body: bytes):
    with pytest.raises(Malformed, match="not an answer of Prometheus' query API"):
        promql.parse(body)


def test_an_error_in_a_good_envelope_is_refused_with_its_words():
    body = json.dumps({"status": "error", "errorType": "bad_data", "error": "too many samples"}).encode()

    with pytest.raises(Refused, match="bad_data: too many samples"):
        promql.parse(body)


@given(tables, tables, tables)
def test_increments_add_up_over_consecutive_blocks(start, more, yet_more):
    middle = {key: start.get(key, 0) + more.get(key, 0) for key in start.keys() | more.keys()}
    end = {key: middle.get(key, 0) + yet_more.get(key, 0) for key in middle.keys() | yet_more.keys()}

    for revision in ("r1", "r2"):
        parts = [increments(start, middle, revision), increments(middle, end, revision)]
        whole = increments(start, end, revision)
        for table in ("confusion", "audit"):
            for actual, predicted in itertools.product("ab", "ab"):
                added = sum(getattr(part, table).get(actual, {}).get(predicted, 0) for part in parts)
                assert added == getattr(whole, table).get(actual, {}).get(predicted, 0)


@given(tables, cell)
def test_a_checksum_notices_every_changed_counter_and_no_absent_zero(values, touched):
    revisions = ("r1", "r2")
    before = checksum(values, revisions)

    verify(before, {key: value for key, value in values.items() if value})
    with pytest.raises(PastChanged):
        verify(before, {**values, touched: values.get(touched, 0) + 1})


def test_a_value_that_is_no_count_is_refused():
    with pytest.raises(PastChanged, match="whole number"):
        counters([promql.Series(labels={"ledger": "l"}, samples=((1.0, 1.5),))])
