"""The threats of the feedback chain: each row of the page's table has its proofs, and those without another home are
here."""

import re
from pathlib import Path

import aiohttp
import numpy as np
import orjson
import pytest

from pilotage_server.feedback import Issuer, KeyRing, TokenSigner
from pilotage_server.feedback.collector.ledger import MAX_AGE_MS
from pilotage_server.feedback.keys import SETTLING_S
from support.feedback import (
    Clock,
    MonotonicClock,
    a_collector,
    an_announcement,
    an_endpoint,
    an_identity,
    key_dir,
    opened,
    post,
    samples,
)

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "feedback.md").read_text(encoding="utf-8")
PROOFS = {
    "forged or altered token": (
        "token_signing::no_altered_byte_passes",
        "token_signing::no_cut_or_extended_token_passes",
        "token_signing::one_token_has_one_spelling",
        "token_forms::no_altered_or_cut_byte_of_a_sealed_token_passes",
        "feedback_messages::a_message_altered_anywhere_is_not_ours",
        "feedback_threats::messages_to_the_collector_need_the_key",
    ),
    "leaked key": (
        "feedback_threats::a_leaked_key_is_exchanged_without_losing_a_label",
        "token_signing::two_live_keys_both_verify_and_the_highest_signs",
        "token_signing::a_new_key_verifies_at_once_and_signs_when_all_pods_must_know_it",
        "feedback_messages::a_pod_with_a_newer_key_is_understood_by_a_collector_with_two",
    ),
    "false labels": (
        "feedback_posters::without_a_known_token_nothing_is_looked_at",
        "feedback_posters::labels_are_counted_by_who_posted_them",
        "feedback_posters::one_identity_over_its_budget_waits_and_the_other_does_not",
    ),
    "replay, retries, at-least-once delivery": (
        "feedback_threats::a_replayed_label_counts_once_however_often_and_wherever_it_comes",
        "feedback_endpoint::what_was_stored_before_a_lost_answer_comes_back_as_duplicate",
    ),
    "old labels, clocks that disagree": (
        "collector_ledger::a_first_label_after_maturity_is_late_and_never_counts",
        "feedback_threats::a_token_older_than_thirty_days_is_expired",
        "feedback_threats::a_token_from_the_future_waits_until_the_clocks_agree",
        "collector_ledger::a_clock_that_goes_back_after_pruning_does_not_bring_a_pruned_row_to_life",
    ),
    "a collector that is away, slow or full": (
        "feedback_endpoint::without_a_collector_nothing_is_accepted_and_the_client_is_told_when_to_come_again",
        "feedback_forwarding::a_collector_that_accepts_and_never_answers_costs_a_bounded_wait",
        "feedback_forwarding::a_full_queue_refuses_at_once",
        "feedback_forwarding::what_waits_when_the_pod_stops_is_refused_not_forgotten",
        "collector_numbers::beyond_its_bound_the_queue_refuses_and_what_was_taken_is_still_written",
        "collector_process::without_disk_space_nothing_is_accepted_and_the_numbers_stay_up",
        "collector_ledger::a_full_volume_takes_nothing_and_loses_nothing_and_goes_on_when_there_is_room",
    ),
    "a volume that fills up": (
        "collector_ledger::a_volume_does_not_grow_with_the_labels_it_has_seen_and_shrinks_after_a_burst",
        "collector_ledger::tokens_expire_before_their_rows_go_so_that_pruning_cannot_recount",
    ),
    "another model's or tenant's token": ("feedback_threats::another_models_token_is_credited_to_nobody",),
    "series by invented labels": ("feedback_threats::labels_invented_by_clients_make_no_series",),
    "privacy": (
        "feedback_threats::a_token_tells_nobody_what_was_asked",
        "token_forms::a_sealed_token_shows_its_cluster_and_nothing_else",
        "gate_rows::declared_slices_travel_as_codes_and_nothing_else_does",
        "outcome_counters::slices_show_nothing_before_a_value_has_twenty_labels",
    ),
    "a pod or collector stopped by what is sent": (
        "feedback_fuzz::no_body_is_answered_with_a_fault_of_ours",
        "feedback_fuzz::no_message_stops_the_ledger_and_it_counts_what_it_accepted",
        "feedback_fuzz::a_token_signed_over_rubbish_is_unreadable_and_no_error",
    ),
    "a crash at any moment": (
        "collector_history::what_is_shown_is_what_the_reference_counted",
        "collector_process::killed_under_load_it_counts_every_accepted_label_once_and_no_other",
    ),
}
"""Tests by threat, as file::claim."""


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def collector(tmp_path, clock):
    async with a_collector(tmp_path, clock) as running:
        await running.writer.submit(an_announcement())
        yield running


def label(token, value="cat", row=0):
    return {"token": token, "row": row, "label": value}


def test_every_threat_on_the_page_has_its_proofs():
    table = PAGE.split("## Threats")[1].split("## The token")[0]

    assert re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)[1:] == list(PROOFS)
    for proof in (proof for proofs in PROOFS.values() for proof in proofs):
        file, claim = proof.split("::")
        text = (HERE / f"test_{file}.py").read_text(encoding="utf-8")
        assert re.search(rf"def (test_)?{claim}\(", text), proof


async def test_a_leaked_key_is_exchanged_without_losing_a_label(collector, clock, tmp_path):
    """k1 leaks: k2 comes beside it, signs once all know it, and k1 goes when its last tokens have their labels."""
    folder, monotonic = tmp_path / "keys", MonotonicClock()
    pods = KeyRing(folder, monotonic=monotonic)
    signer = TokenSigner(pods, an_identity())
    under_k1 = [signer.sign([0], None, clock.now) for _ in range(3)]

    async with an_endpoint(an_identity(), pods, collector.address, clock) as endpoint:
        key_dir(folder, k2=b"2" * 32)
        pods.refresh()
        assert (await post(endpoint, label(under_k1[0])))[0]["result"] == "accepted"
        collector.ring.refresh()
        monotonic.now = SETTLING_S
        pods.refresh()
        under_k2 = signer.sign([0], None, clock.now)
        answers = await post(endpoint, label(under_k1[1]), label(under_k2))
        assert [answer["result"] for answer in answers] == ["accepted", "accepted"]

        (folder / "k1").unlink()
        pods.refresh()
        collector.ring.refresh()
        stolen = TokenSigner(KeyRing(key_dir(tmp_path / "thief", k1=b"1" * 32)), an_identity())
        answers = await post(endpoint, label(under_k1[2]), label(stolen.sign([1], None, clock.now)), label(under_k2))
        assert [answer["result"] for answer in answers] == ["bad_signature", "bad_signature", "duplicate"]
    clock.advance(60)
    await collector.matured()
    assert (await collector.quality())["revisions"]["pets-0a1b2c3d4e"]["countedRows"] == 3


async def test_a_replayed_label_counts_once_however_often_and_wherever_it_comes(collector, clock):
    token = TokenSigner(collector.ring, an_identity()).sign([0], None, clock.now)
    async with (
        an_endpoint(an_identity(), collector.ring, collector.address, clock) as one,
        an_endpoint(an_identity(revision="pets-canary"), collector.ring, collector.address, clock) as other,
    ):
        await collector.writer.submit(an_announcement(revision="pets-canary"))
        results = [(await post(endpoint, label(token)))[0]["result"] for endpoint in (one, other, one, other)]
    clock.advance(60)
    await collector.matured()

    assert results == ["accepted", "duplicate", "duplicate", "duplicate"]
    assert (await collector.quality())["revisions"]["pets-0a1b2c3d4e"]["countedRows"] == 1


async def test_a_token_older_than_thirty_days_is_expired(collector, clock):
    token = TokenSigner(collector.ring, an_identity()).sign([0], None, clock.now)
    clock.advance(MAX_AGE_MS / 1000 + 1)
    await collector.matured()

    async with an_endpoint(an_identity(), collector.ring, collector.address, clock) as endpoint:
        assert (await post(endpoint, label(token)))[0]["result"] == "expired"


async def test_a_token_from_the_future_waits_until_the_clocks_agree(collector, clock):
    """Posted again once the clocks are set, it is accepted: nothing of it was kept."""
    token = TokenSigner(collector.ring, an_identity()).sign([0], None, clock.now + 120)

    async with an_endpoint(an_identity(), collector.ring, collector.address, clock) as endpoint:
        assert (await post(endpoint, label(token)))[0]["result"] == "clock_skew"
        clock.advance(90)
        assert (await post(endpoint, label(token)))[0]["result"] == "accepted"


async def test_another_models_token_is_credited_to_nobody(collector, clock):
    """Models of one namespace share keys: what tells them apart is that no pod announced the revision here."""
    foreign = an_identity(model="dogs", revision="dogs-0a1b2c3d4e")
    token = TokenSigner(collector.ring, foreign).sign([0], None, clock.now)

    async with an_endpoint(an_identity(), collector.ring, collector.address, clock) as endpoint:
        assert (await post(endpoint, label(token)))[0]["result"] == "unknown_revision"


async def test_labels_invented_by_clients_make_no_series(collector, clock):
    signer = TokenSigner(collector.ring, an_identity())
    async with an_endpoint(an_identity(), collector.ring, collector.address, clock) as endpoint:
        before = {series for series, _ in samples((await collector.get("/metrics"))[1]).items()}
        told = [await post(endpoint, label(signer.sign([0], None, clock.now), f"label-{n}")) for n in range(50)]
        after = {series for series, _ in samples((await collector.get("/metrics"))[1]).items()}

    assert {answer["result"] for (answer,) in told} == {"unknown_label"}
    assert before == after


async def test_a_token_tells_nobody_what_was_asked(collector):
    """No feature value stands in a token: equal predictions of different rows differ in the nonce alone."""
    ring = collector.ring
    issuer = Issuer(TokenSigner(ring, an_identity()), None)
    p = np.array([[0.0, 1.0, 0.0]])
    secret, other = np.array([[1234.5, 6.75]]), np.array([[0.0, 0.0]])

    tokens = [opened(issuer.issue(rows, np.array([1]), p)["feedback_token"], ring) for rows in (secret, other)]

    first, second = tokens
    assert (first.predicted, first.probabilities, first.slices, first.request) == (
        second.predicted,
        second.probabilities,
        b"",
        b"",
    )


async def test_messages_to_the_collector_need_the_key(collector):
    body = orjson.dumps({"model": "pets", "sender": "pets-0a1b2c3d4e", "items": [], "decisions": []})
    for path in ("/v1/labels", "/v1/decisions", "/v1/revisions", "/v1/quality"):
        url = f"http://127.0.0.1:{collector.port}{path}"
        async with aiohttp.ClientSession() as session, session.post(url, data=body) as response:
            assert response.status == 401
