"""What a feedback token promises: it says what was predicted, and nothing else passes for it."""

import binascii
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage_server.feedback import (
    Identity,
    IdentityRefused,
    KeyRing,
    KeysRefused,
    TokenSigner,
    Unreadable,
    open_token,
)
from pilotage_server.feedback.keys import SETTLING_S, Key
from pilotage_server.feedback.token import Forged, Token, chosen_row
from support.feedback import MonotonicClock, an_identity, key_dir


@pytest.fixture
def ring(tmp_path):
    return KeyRing(key_dir(tmp_path / "keys"))


@pytest.fixture(scope="module")
def shared_ring(tmp_path_factory):
    return KeyRing(key_dir(tmp_path_factory.mktemp("shared") / "keys"))


def raw(text: str) -> bytes:
    return binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))


def text(raw_token: bytes) -> str:
    return binascii.b2a_base64(raw_token, newline=False).decode().replace("+", "-").replace("/", "_").rstrip("=")


@given(predicted=st.lists(st.integers(0, 2), min_size=1, max_size=300), now=st.floats(0, 4e9))
def test_a_token_gives_back_what_was_signed(predicted, now, shared_ring):
    identity = an_identity()

    token = open_token(TokenSigner(shared_ring, identity).sign(predicted, None, now), shared_ring)

    assert isinstance(token, Token)
    assert (token.revision, token.cluster) == (identity.revision, identity.cluster)
    assert list(token.predicted) == predicted
    assert token.issued_ms == int(now * 1000)
    assert token.probabilities == ()


def test_probabilities_travel_in_sixteenths_of_a_nat_without_bias(ring):
    signer = TokenSigner(ring, an_identity())
    p = np.array([[0.7, 0.3 - 1e-9, 1e-9]])

    tokens = [open_token(signer.sign([0], p, 0.0), ring) for _ in range(4_000)]
    read = [token.probabilities[0] for token in tokens if isinstance(token, Token)]

    mean = np.mean([list(row) for row in read], axis=0) / 16
    assert mean[:2] == pytest.approx(-np.log(p[0, :2]), abs=0.004)
    assert {row[2] for row in read} == {255}


def test_a_batch_too_wide_for_probabilities_is_signed_without_them(ring):
    signer = TokenSigner(ring, an_identity())

    token = open_token(signer.sign([0] * 1_000, np.full((1_000, 3), 1 / 3), 0.0), ring)

    assert isinstance(token, Token)
    assert token.rows == 1_000
    assert token.probabilities == ()


@pytest.mark.parametrize("with_probabilities", [False, True])
def test_no_altered_byte_passes(ring, with_probabilities):
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]) if with_probabilities else None
    whole = raw(TokenSigner(ring, an_identity()).sign([0, 1], probabilities, time.time()))

    for position in range(len(whole)):
        for bit in range(8):
            altered = bytearray(whole)
            altered[position] ^= 1 << bit
            assert not _passes(text(bytes(altered)), ring), f"byte {position}, bit {bit}"


def test_no_cut_or_extended_token_passes(ring):
    whole = raw(TokenSigner(ring, an_identity()).sign([0, 1], None, time.time()))

    for length in range(len(whole)):
        assert not _passes(text(whole[:length]), ring), f"first {length} bytes"
        assert not _passes(text(whole[length + 1 :]), ring), f"without the first {length + 1} bytes"
    assert not _passes(text(whole + b"\0"), ring)


def test_one_token_has_one_spelling(ring):
    spelled = TokenSigner(ring, an_identity()).sign([0], None, time.time())
    others = [spelled + "=", " " + spelled, spelled + "\n", spelled[:5] + "!" + spelled[5:], spelled + "é"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others += [spelled[:-1] + letter for letter in alphabet if letter != spelled[-1]]

    assert _passes(spelled, ring)
    assert not [other for other in others if _passes(other, ring)]


@given(rubbish=st.text(max_size=200) | st.binary(max_size=200).map(text))
def test_rubbish_is_unreadable_or_forged_and_never_an_error(rubbish, shared_ring):
    assert not _passes(rubbish, shared_ring)


def test_a_forged_token_tells_the_cluster_it_claims(ring, tmp_path):
    stranger = KeyRing(key_dir(tmp_path / "other", k1=b"2" * 32))
    token = TokenSigner(stranger, an_identity(cluster="gcp")).sign([0], None, time.time())

    assert open_token(token, ring) == Forged(claimed_cluster="gcp", kid=1, kid_known=True)


def test_two_live_keys_both_verify_and_the_highest_signs(tmp_path):
    old = KeyRing(key_dir(tmp_path / "old", k1=b"1" * 32))
    both = KeyRing(key_dir(tmp_path / "both", k1=b"1" * 32, k10=b"2" * 32, k9=b"3" * 32))
    new = KeyRing(key_dir(tmp_path / "new", k10=b"2" * 32))
    identity = an_identity()

    by_old = TokenSigner(old, identity).sign([0], None, 0.0)
    by_both = TokenSigner(both, identity).sign([0], None, 0.0)

    assert isinstance(open_token(by_old, both), Token)
    assert isinstance(open_token(by_both, both), Token)
    assert isinstance(open_token(by_both, new), Token)
    assert open_token(by_old, new) == Forged(claimed_cluster="aws", kid=1, kid_known=False)


def test_a_new_key_verifies_at_once_and_signs_when_all_pods_must_know_it(tmp_path):
    clock = MonotonicClock()
    folder = key_dir(tmp_path / "keys", k1=b"1" * 32)
    ring = KeyRing(folder, monotonic=clock)
    signer = TokenSigner(ring, an_identity())
    key_dir(folder, k2=b"2" * 32)

    assert ring.refresh()
    assert ring.kids == {1, 2}
    assert raw(signer.sign([0], None, 0.0))[1] == 1
    clock.now = SETTLING_S
    assert not ring.refresh()
    assert raw(signer.sign([0], None, 0.0))[1] == 2


def test_a_key_exchanged_under_its_id_acts_at_once(tmp_path):
    folder = key_dir(tmp_path / "keys", k1=b"1" * 32)
    ring = KeyRing(folder)
    before = TokenSigner(ring, an_identity()).sign([0], None, 0.0)
    key_dir(folder, k1=b"2" * 32)

    assert ring.refresh()
    assert isinstance(open_token(before, ring), Forged)
    assert isinstance(open_token(TokenSigner(ring, an_identity()).sign([0], None, 0.0), ring), Token)


def test_keys_that_cannot_be_read_any_more_leave_the_old_ones_in_force(tmp_path):
    folder = key_dir(tmp_path / "keys")
    ring = KeyRing(folder)
    key_dir(folder, k2=b"short")

    with pytest.raises(KeysRefused):
        ring.refresh()
    assert isinstance(open_token(TokenSigner(ring, an_identity()).sign([0], None, 0.0), ring), Token)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, r"no feedback key; put 32 random bytes under k1 in pilotage-feedback-key"),
        ({"k1": b"1" * 33}, r"k1: 33 bytes; a feedback key is 32 raw random bytes"),
        ({"k0": b"1" * 32}, r"k0: not a key id; name feedback keys k1 to k255"),
        ({"k256": b"1" * 32}, r"k256: not a key id"),
        ({"key": b"1" * 32}, r"key: not a key id"),
    ],
)
def test_a_key_folder_that_cannot_be_used_is_refused_with_the_remedy(tmp_path, files, says):
    folder = tmp_path / "keys"
    folder.mkdir()
    for name, secret in files.items():
        (folder / name).write_bytes(secret)

    with pytest.raises(KeysRefused, match=says):
        KeyRing(folder)


def test_a_missing_key_folder_names_the_secret_to_mount(tmp_path):
    with pytest.raises(KeysRefused, match=r"nowhere: cannot read .* mount the Secret pilotage-feedback-key"):
        KeyRing(tmp_path / "nowhere")


def test_keys_do_not_show_in_representations():
    assert "Key(kid=7)" in repr(Key.of(7, b"\x01" * 32))


def test_a_key_computes_hmac_sha256():
    # RFC 4231, test case 2.
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert Key.of(1, b"Jefe").mac(b"what do ya want for nothing?").hex() == expected


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 1_000])
def test_the_chosen_row_is_spread_evenly_and_depends_on_the_nonce_alone(rows):
    draws = [chosen_row(nonce.to_bytes(8, "big"), rows) for nonce in range(20_000)]

    counts = np.bincount(draws, minlength=rows)
    assert len(counts) == rows
    # Chi-square with rows − 1 degrees of freedom: mean rows − 1, variance 2(rows − 1).
    chi_square = ((counts - 20_000 / rows) ** 2 / (20_000 / rows)).sum()
    assert chi_square < rows - 1 + 6 * np.sqrt(2 * rows)


@pytest.mark.parametrize(
    ("predicted", "says"),
    [([], "0 rows"), ([3], "class index 3; the model has 3 classes"), ([0] * 65_536, "65536 rows")],
)
def test_predictions_no_token_can_hold_are_refused(ring, predicted, says):
    with pytest.raises(ValueError, match=says):
        TokenSigner(ring, an_identity()).sign(predicted, None, 0.0)


def test_an_array_of_wide_integers_is_refused_rather_than_signed_byte_by_byte(ring):
    with pytest.raises(ValueError, match="give a list of ints, not an array"):
        TokenSigner(ring, an_identity()).sign(np.array([1, 2]), None, 0.0)  # type: ignore[arg-type]


def test_probabilities_of_another_shape_are_refused(ring):
    with pytest.raises(ValueError, match=r"shape \(1, 2\); expected \(n, 3\)"):
        TokenSigner(ring, an_identity()).sign([0], np.array([[0.5, 0.5]]), 0.0)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"classes": ("cat",)}, "1 given; feedback counts models of 2 to 100 classes"),
        ({"classes": tuple(map(str, range(101)))}, "101 given"),
        ({"classes": ("cat", "dog", "cat")}, "'cat' appears twice"),
        ({"classes": ("cat", "d" * 129)}, "'dddddddddddddddddddd'… has 129 characters; at most 128"),
        ({"revision": ""}, "revision: ''"),
        ({"cluster": "x" * 64}, "cluster:"),
        ({"model": "modèle"}, "model:"),
    ],
)
def test_an_identity_that_cannot_be_counted_is_refused(fields, says):
    whole = {"model": "pets", "revision": "pets-1", "cluster": "aws", "classes": ("cat", "dog")} | fields
    with pytest.raises(IdentityRefused, match=says):
        Identity(**whole)


def _passes(spelled, ring):
    try:
        return isinstance(open_token(spelled, ring), Token)
    except Unreadable:
        return False
