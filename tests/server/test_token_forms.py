"""What a token of the second version carries: probabilities in three forms, a flag, a request's id, slices."""

import base64
import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage_server.feedback import KeyRing, TokenSigner, Unreadable, open_token
from pilotage_server.feedback.probabilities import LETTERS, encoder, is_readable, row_bytes, scores
from pilotage_server.feedback.signing import is_audited
from pilotage_server.feedback.token import Forged, as_text, chosen_row
from pilotage_server.quality.buckets import MAX_LOSS_MICRO, MICRO, SCORE_BUCKETS, SCORE_EDGES, score_bucket
from support.feedback import START_S, an_identity, key_dir, opened


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    return KeyRing(key_dir(tmp_path_factory.mktemp("keys") / "keys"))


probabilities = st.integers(2, 100).flatmap(
    lambda classes: st.lists(st.floats(1e-6, 1.0), min_size=classes, max_size=classes).map(
        lambda weights: np.array([weights]) / sum(weights)
    )
)


@given(p=probabilities, given_class=st.integers(0, 99))
def test_any_probabilities_come_back_near_enough_for_loss_and_buckets(p, given_class, ring):
    classes = p.shape[1]
    truth = given_class % classes
    signer = TokenSigner(ring, an_identity(classes=tuple(map(str, range(classes)))))

    token = opened(signer.sign([0], p, 0.0), ring)
    found = scores(token.probabilities[0], token.classes, truth)

    assert token.classes == classes
    assert len(token.probabilities[0]) == row_bytes(classes)
    assert len(found.buckets) == classes
    assert 0 <= found.loss <= MAX_LOSS_MICRO
    assert 0 <= found.brier <= 2 * MICRO
    if classes <= 32:
        expected = min(-np.log(p[0, truth]), MAX_LOSS_MICRO / MICRO)
        # A sixteenth of a nat, or the sixteenths of all others where the class holds most of the mass.
        assert found.loss / MICRO == pytest.approx(expected, abs=0.0626 + 0.07 * (p[0, truth] > 0.5))


@pytest.mark.parametrize("classes", [2, 5, 32, 33, 100])
def test_one_row_and_many_are_written_in_the_same_form(classes, ring):
    p = np.full((7, classes), 1.0 / classes)
    signer = TokenSigner(ring, an_identity(classes=tuple(map(str, range(classes)))))

    token = opened(signer.sign([0] * 7, p, 0.0), ring)

    assert {len(row) for row in token.probabilities} == {row_bytes(classes)}
    assert all(is_readable(row, classes) for row in token.probabilities)


def test_a_row_of_ten_classes_costs_a_token_of_a_hundred_characters(ring):
    identity = an_identity(classes=tuple("0123456789"))
    p = np.full((32, 10), 0.1)

    one = len(TokenSigner(ring, identity).sign([0], p[:1], 0.0))
    many = len(TokenSigner(ring, identity).sign([0] * 32, p, 0.0))

    assert one <= 100
    assert (many - one) / 31 <= 16


@pytest.mark.parametrize("p", [0.5, 0.9, 0.99, 0.999, 0.02])
def test_two_classes_travel_as_log_odds_without_bias(p):
    encode = encoder(2)
    rows = [encode(np.array([[1 - p, p]])) for _ in range(4_000)]

    losses = [scores(row, 2, 1).loss / MICRO for row in rows]

    assert np.mean(losses) == pytest.approx(min(-np.log(p), MAX_LOSS_MICRO / MICRO), abs=2e-5)
    assert max(losses) - min(losses) < 1e-3


def test_the_likeliest_class_is_read_from_what_the_others_leave():
    encode = encoder(4)
    p = np.array([[0.004, 0.99, 0.003, 0.003]])

    rows = [scores(encode(p), 4, 1) for _ in range(2_000)]

    assert np.mean([row.loss for row in rows]) / MICRO == pytest.approx(-np.log(0.99), abs=2e-4)
    buckets = {LETTERS.index(row.buckets.encode()[1]) for row in rows}
    assert max(abs(bucket - score_bucket(0.99)) for bucket in buckets) <= 1


def test_certainty_and_impossibility_are_the_outer_buckets():
    for classes in (2, 3, 40):
        p = np.zeros((1, classes))
        p[0, 1] = 1.0
        found = scores(encoder(classes)(p), classes, 0)
        assert found.loss == MAX_LOSS_MICRO
        assert LETTERS.index(found.buckets.encode()[1]) == SCORE_BUCKETS - 1
        assert LETTERS.index(found.buckets.encode()[0]) == 0


def test_a_bucket_holds_its_lower_edge():
    for bucket, edge in enumerate(SCORE_EDGES, start=1):
        p = 1 / (1 + np.exp(-edge))
        assert score_bucket(p * (1 + 1e-9)) == bucket
        assert score_bucket(p * (1 - 1e-9)) == bucket - 1


@pytest.mark.parametrize(
    ("row", "classes"), [(b"\1", 2), (b"\1\2", 3), (b"\1" * 33, 34), (bytes([99, 0] * 16) + b"\0", 40)]
)
def test_bytes_that_cannot_be_probabilities_are_told(row, classes):
    assert is_readable(row, classes) is (row == b"\1" * 33)


@given(request=st.binary(min_size=8, max_size=8), slices=st.lists(st.integers(0, 20), min_size=1, max_size=4))
def test_request_id_and_slices_travel_beside_what_was_predicted(request, slices, ring):
    signer = TokenSigner(ring, an_identity())
    p = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])

    issued = signer.issue([2, 1], p, 7.0, request=request, slices=bytes(slices))
    token = opened(issued.token, ring)

    assert (token.request, token.slices, list(token.predicted)) == (request, bytes(slices), [2, 1])
    assert issued.gate_row == chosen_row(token.nonce, 2)
    assert len(token.probabilities) == 2


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_requests_are_picked_for_labelling_at_the_rate_by_their_nonce_alone(rate, ring):
    signer = TokenSigner(ring, an_identity(), audit_rate=rate)

    issued = [signer.issue([0], None, 0.0) for _ in range(4_000)]
    tokens = [opened(one.token, ring) for one in issued]

    assert [one.is_audited for one in issued] == [token.audit for token in tokens]
    assert all(token.audit == is_audited(token.nonce, rate) for token in tokens)
    picked = sum(token.audit for token in tokens)
    assert abs(picked - 4_000 * rate) <= 5 * np.sqrt(4_000 * rate * (1 - rate))


def test_the_row_that_enters_the_gate_and_the_pick_are_drawn_apart():
    nonces = [n.to_bytes(8, "big") for n in range(20_000)]
    picked = [chosen_row(nonce, 4) for nonce in nonces if is_audited(nonce, 0.25)]

    counts = np.bincount(picked, minlength=4)
    assert ((counts - len(picked) / 4) ** 2 / (len(picked) / 4)).sum() < 3 + 6 * np.sqrt(6)


def first_version(ring, predicted, rows_of_steps=()):
    """A token as the first version wrote it."""
    classes = len(rows_of_steps[0]) if rows_of_steps else 0
    message = struct.pack(">BBQ8sBH", 1, ring.signing.kid, 1_000, b"n" * 8, int(bool(classes)), len(predicted))
    for name in ("pets-0a1b2c3d4e", "aws"):
        message += bytes([len(name)]) + name.encode()
    message += bytes(predicted)
    if classes:
        message += bytes([classes]) + b"".join(bytes(row) for row in rows_of_steps)
    return as_text(message + ring.signing.mac(message)[:16])


def test_tokens_of_the_first_version_still_verify(ring):
    token = opened(first_version(ring, [2, 0]), ring)

    assert (list(token.predicted), token.issued_ms, token.audit, token.probabilities) == ([2, 0], 1_000, False, ())


def test_probabilities_of_the_first_version_are_read_where_the_form_is_the_same(ring):
    three = opened(first_version(ring, [0], [(0, 100, 100)]), ring)
    two = opened(first_version(ring, [0], [(0, 100)]), ring)

    assert (three.classes, three.probabilities) == (3, (bytes((0, 100, 100)),))
    assert (two.classes, two.probabilities) == (0, ())


def sealing(ring, **fields):
    return TokenSigner(ring, an_identity(**fields), sealed=True)


@given(predicted=st.lists(st.integers(0, 2), min_size=1, max_size=50), request=st.just(b"") | st.just(b"r" * 8))
def test_a_sealed_token_gives_back_what_a_signed_one_would(predicted, request, ring):
    p = np.full((len(predicted), 3), 1 / 3)
    signer = TokenSigner(ring, an_identity(), sealed=True, audit_rate=0.5)

    issued = signer.issue(predicted, p, 7.5, request=request, slices=b"\1")
    token = opened(issued.token, ring)

    assert (list(token.predicted), token.issued_ms, token.request, token.slices) == (predicted, 7500, request, b"\1")
    assert (token.audit, len(token.probabilities)) == (issued.is_audited, len(predicted))
    assert issued.gate_row == chosen_row(token.nonce, len(predicted))


def test_a_sealed_token_shows_its_cluster_and_nothing_else(ring):
    text = sealing(ring).sign([1], np.array([[0.0, 1.0, 0.0]]), START_S)
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    assert b"aws" in raw
    assert b"pets" not in raw
    # Equal answers do not look alike, and neither do their sizes tell which class was answered.
    again = [sealing(ring).sign([n % 3], np.array([[0.0, 1.0, 0.0]]), START_S) for n in range(9)]
    assert len({text[25:] for text in again}) == 9
    assert len({len(text) for text in again}) == 1


def test_no_altered_or_cut_byte_of_a_sealed_token_passes(ring):
    text = sealing(ring).sign([1, 2], np.full((2, 3), 1 / 3), START_S)
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    altered = [raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :] for at in range(len(raw)) for bit in (1, 128)]
    for wrong in (*altered, *(raw[:length] for length in range(len(raw))), raw + b"\0"):
        with contextlib.suppress(Unreadable):
            assert isinstance(open_token(as_text(wrong), ring), Forged)


def test_another_clusters_sealed_token_names_the_cluster(ring, tmp_path):
    stranger = KeyRing(key_dir(tmp_path / "other", k1=b"2" * 32))

    found = open_token(sealing(stranger, cluster="gcp").sign([0], None, START_S), ring)

    assert found == Forged(claimed_cluster="gcp", kid=1, kid_known=True)


def test_a_sealed_token_costs_no_more_than_forty_characters(ring):
    p = np.array([[0.2, 0.3, 0.5]])

    assert len(sealing(ring).sign([0], p, START_S)) - len(TokenSigner(ring, an_identity()).sign([0], p, START_S)) <= 40
