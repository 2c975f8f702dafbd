"""One row per request in the manifest's bins: counted exactly, in batches, from zero."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pilotage_server.feedback import Asked, FeedbackRefused, FeedbackSettings, Issuer, KeyRing, Shadow, TokenSigner
from pilotage_server.feedback.issuing import request_id
from pilotage_server.feedback.token import chosen_row
from pilotage_server.quality.buckets import CONFIDENCE_EDGES, confidence_bucket
from pilotage_server.quality.reference import MAX_BINS, MAX_FEATURES, FeatureBins, reference_bins
from pilotage_server.quality.rows import GateRows
from pilotage_server.quality.slices import Slice, codes
from support.feedback import an_identity, key_dir, opened, samples, total

CLASSES = ("cat", "dog", "eel")


def scraped(rows):
    registry = CollectorRegistry(auto_describe=False)
    registry.register(rows)
    return samples(generate_latest(registry))


def gate_rows(features=("a", "b"), reference=()):
    return GateRows(model="pets", revision="pets-1", classes=CLASSES, features=features, reference=reference)


@pytest.fixture
def training():
    rng = np.random.default_rng(3)
    spread = rng.normal(size=1_000)
    return np.column_stack([spread, np.full(1_000, 7.0), rng.integers(0, 3, 1_000), (spread > 3).astype(float)])


def test_every_series_is_there_at_zero(training):
    features = ("wide", "constant", "few", "rare")

    read = scraped(gate_rows(features, reference_bins(training, features)))

    assert {name for name, _ in read} == {
        "model_gate_rows_total", "model_confidence_bins_total", "model_feature_bins_total"
    }  # fmt: skip
    assert not any(read.values())
    assert len([name for name, _ in read if name == "model_confidence_bins_total"]) == 20


def test_reference_bins_are_quantiles_and_count_every_training_row(training):
    features = ("wide", "constant", "few", "rare")

    found = {bins.feature: bins for bins in reference_bins(training, features)}

    assert set(found) == {"wide", "few", "rare"}
    assert all(sum(bins.counts) == 1_000 for bins in found.values())
    assert set(found["wide"].counts) == {100}
    assert found["few"].edges == (1.0, 2.0)
    assert found["rare"].counts[1] == (training[:, 0] > 3).sum()
    assert [bins.feature for bins in reference_bins(training, features)] == ["wide", "few", "rare"]


@pytest.mark.parametrize("count", [1, 127, 128, 129, 1_000])
def test_counts_are_those_of_a_histogram_however_they_were_batched(training, count):
    features = ("wide", "constant", "few", "rare")
    reference = reference_bins(training, features)
    rows = gate_rows(features, reference)
    rng = np.random.default_rng(count)
    asked = rng.normal(size=(count, 4)) * 2
    confidence = rng.uniform(0.34, 1.0, count)

    for start, end in pairwise(sorted({0, *rng.integers(0, count, 20).tolist(), count})):
        rows.add(asked[start:end], (asked[start:end, 0] > 0).astype(np.int64), confidence[start:end])

    read = scraped(rows)
    for bins in reference:
        column = asked[:, features.index(bins.feature)]
        expected = np.histogram(column, bins=[-np.inf, *bins.edges, np.inf])[0]
        for bin_, value in enumerate(expected):
            assert total(read, "model_feature_bins_total", feature=bins.feature, bin=str(bin_)) == value
    assert total(read, "model_gate_rows_total", predicted="dog") == (asked[:, 0] > 0).sum()
    for bucket in range(20):
        found = sum(confidence_bucket(p) == bucket for p in confidence)
        assert total(read, "model_confidence_bins_total", bucket=str(bucket)) == found


def test_certainty_is_the_last_bucket_of_confidence():
    rows = gate_rows()
    rows.add(np.zeros((1, 2)), np.array([0]), np.array([1.0]))

    assert total(scraped(rows), "model_confidence_bins_total", bucket="19") == 1
    assert len(CONFIDENCE_EDGES) == 19


def test_no_more_than_twenty_features_are_counted():
    features = tuple(f"f{n}" for n in range(40))
    reference = tuple(FeatureBins(feature=name, edges=(0.0,), counts=(1, 1)) for name in features)

    read = scraped(gate_rows(features, reference))

    named = {dict(labels)["feature"] for name, labels in read if name == "model_feature_bins_total"}
    assert named == set(features[:MAX_FEATURES])
    assert MAX_BINS == 12


@pytest.fixture
def ring(tmp_path):
    return KeyRing(key_dir(tmp_path / "keys"))


def test_the_row_that_is_counted_is_the_one_whose_label_would_be(ring):
    rows = gate_rows()
    issuer = Issuer(TokenSigner(ring, an_identity()), rows)
    p = np.array([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.1, 0.7]])
    expected = [0, 0, 0]

    for _ in range(300):
        answer = issuer.issue(np.zeros((3, 2)), np.array([0, 1, 2]), p)
        token = opened(answer["feedback_token"], ring)
        expected[chosen_row(token.nonce, 3)] += 1

    read = scraped(rows)
    assert [total(read, "model_gate_rows_total", predicted=name) for name in CLASSES] == expected


def test_an_audited_request_says_so_in_its_answer(ring):
    always = Issuer(TokenSigner(ring, an_identity(), audit_rate=1.0), None)
    never = Issuer(TokenSigner(ring, an_identity()), None)
    request = (np.zeros((1, 2)), np.array([0]), np.array([[0.6, 0.3, 0.1]]))

    assert always.issue(*request)["audit"] is True
    assert "audit" not in never.issue(*request)


def test_declared_slices_travel_as_codes_and_nothing_else_does(ring):
    slices = (Slice(name="region", values=("eu", "us")), Slice(name="age", values=("young", "old")))
    issuer = Issuer(TokenSigner(ring, an_identity()), None, slices=slices)
    request = (np.zeros((1, 2)), np.array([0]), np.array([[0.6, 0.3, 0.1]]))

    def told(**parameters):
        return opened(issuer.issue(*request, Asked(None, parameters))["feedback_token"], ring).slices

    assert told(region="us", age="young", name="somebody") == bytes([2, 1])
    assert told(region="mars", age=["old"]) == b""
    assert told() == b""
    assert codes(slices, {"age": "old"}) == bytes([0, 2])


def test_a_request_and_its_copy_share_an_id_and_another_question_does_not():
    rows = np.arange(4.0).reshape(2, 2)

    assert request_id("a", rows) == request_id("a", rows.copy())
    assert request_id("a", rows) != request_id("b", rows)
    assert request_id("a", rows) != request_id("a", rows + 1)
    assert len(request_id(None, rows)) == 8


def test_a_shadow_issues_no_token_and_counts_no_gate_row(ring):
    rows = gate_rows()
    shadow = Issuer(TokenSigner(ring, an_identity()), rows, shadow=Shadow.CANARY)
    stable = Issuer(TokenSigner(ring, an_identity()), None, shadow=Shadow.STABLE)
    inputs = np.ones((1, 2))
    answer = (np.array([0]), np.array([[0.6, 0.3, 0.1]]))

    assert shadow.issue(inputs, *answer, Asked("r1")) == {}
    assert not any(scraped(rows).values())
    token = opened(stable.issue(inputs, *answer, Asked("r1"))["feedback_token"], ring)
    assert token.request == request_id("r1", inputs)


def test_a_request_with_texts_is_the_same_request_where_they_have_other_codes(ring):
    posted: list[bytes] = []
    post: Any = SimpleNamespace(add=lambda request, *_: posted.append(request))
    signer = TokenSigner(ring, an_identity())
    stable = Issuer(signer, None, categories=[(), ("blue", "red")], shadow=Shadow.STABLE)
    canary = Issuer(signer, None, categories=[(), ("blue", "green", "red")], shadow=Shadow.CANARY, post=post)
    answer = (np.array([0]), np.array([[0.6, 0.3, 0.1]]))

    tokens = [stable.issue(np.array([[5.0, code]]), *answer)["feedback_token"] for code in (1.0, 0.0, np.nan)]
    for code in (2.0, 0.0, np.nan, 1.0):
        canary.issue(np.array([[5.0, code]]), *answer)

    assert [opened(token, ring).request for token in tokens] == posted[:3]
    assert len(set(posted)) == 4


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"PILOTAGE_AUDIT_RATE": "2"}, "PILOTAGE_AUDIT_RATE: '2' is not a number from 0 to 1"),
        ({"PILOTAGE_AUDIT_RATE": "often"}, "PILOTAGE_AUDIT_RATE: 'often'"),
        ({"PILOTAGE_AUDIT_RATE": "nan"}, "PILOTAGE_AUDIT_RATE: 'nan'"),
        ({"PILOTAGE_SEALED_TOKENS": "1"}, "PILOTAGE_SEALED_TOKENS: '1' is neither true nor false"),
        ({"PILOTAGE_SHADOW": "yes"}, "PILOTAGE_SHADOW: 'yes'; write stable, canary"),
        ({"PILOTAGE_FEEDBACK_RATE": "-1"}, "PILOTAGE_FEEDBACK_RATE: '-1'"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(env, says):
    with pytest.raises(FeedbackRefused, match=says):
        FeedbackSettings.from_env(env)


def test_settings_have_defaults_that_ask_for_nothing():
    found = FeedbackSettings.from_env({})

    assert (found.audit_rate, found.shadow, found.peers, found.credentials) == (0.0, Shadow.NONE, None, None)
    assert FeedbackSettings.from_env({"PILOTAGE_AUDIT_RATE": "0.05"}).audit_rate == 0.05


def test_bins_that_are_cut_elsewhere_have_another_name(training):
    """A canary trained on other rows has other edges; its counts must never be held against stable's."""
    features = ("wide", "constant", "few", "rare")

    def edges(rows):
        return {bins.feature: bins.edges_digest for bins in reference_bins(rows, features)}

    assert edges(training) == edges(training.copy())
    assert not set(edges(training).values()) & set(edges(training * 1.1).values())
    read = scraped(gate_rows(features, reference_bins(training, features)))
    shown = {dict(labels)["edges"] for name, labels in read if name == "model_feature_bins_total"}
    assert shown == set(edges(training).values())
