"""Who may talk to a collector, and what happens to a message that is not what it seems."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage_server.feedback import CollectorLink, CollectorUnavailable, KeyRing, Result
from pilotage_server.feedback.announcing import read_announcement, write_announcement
from pilotage_server.feedback.link import Unregistered
from pilotage_server.feedback.messages import MAX_MESSAGE_ITEMS, Announcement, Delivery
from pilotage_server.feedback.seal import NotOurs, check_seal, seal
from pilotage_server.feedback.wire import (
    LABELS_PATH,
    MAX_MESSAGE_BYTES,
    REVISIONS_PATH,
    Incomprehensible,
    read_delivery,
    read_results,
    write_delivery,
)
from pilotage_server.quality.slices import Slice
from support.feedback import Clock, a_collector, a_delivery, an_announcement, an_item, key_dir

NOW = 1_800_000_000_000


@pytest.fixture
def ring(tmp_path):
    return KeyRing(key_dir(tmp_path / "keys"))


def test_a_sealed_message_is_ours_for_a_minute_either_way(ring):
    headers = seal(ring, LABELS_PATH, b"body", NOW)

    for skew in (-60_000, 0, 60_000):
        check_seal(ring, LABELS_PATH, headers, b"body", NOW + skew)
    for skew in (-60_001, 60_001):
        with pytest.raises(NotOurs, match=r"sent -?60 s ago by the sender's clock; set the nodes' clocks"):
            check_seal(ring, LABELS_PATH, headers, b"body", NOW + skew)


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        (REVISIONS_PATH, b"body", {}),
        (LABELS_PATH, b"bodY", {}),
        (LABELS_PATH, b"body", {"x-pilotage-time": str(NOW + 1)}),
        (LABELS_PATH, b"body", {"x-pilotage-mac": "0" * 64}),
        (LABELS_PATH, b"body", {"x-pilotage-mac": "é"}),
        (LABELS_PATH, b"body", {"x-pilotage-key": "2"}),
        (LABELS_PATH, b"body", {"x-pilotage-key": "9" * 99}),
        (LABELS_PATH, b"body", {"x-pilotage-key": "²"}),
        (LABELS_PATH, b"body", {"x-pilotage-time": "now"}),
        (LABELS_PATH, b"body", {"x-pilotage-time": "9" * 99}),
        (LABELS_PATH, b"body", dict.fromkeys(("x-pilotage-time", "x-pilotage-key", "x-pilotage-mac"), "")),
    ],
    ids=str,
)
def test_a_message_altered_anywhere_is_not_ours(ring, path, body, headers):
    with pytest.raises(NotOurs):
        check_seal(ring, path, seal(ring, LABELS_PATH, b"body", NOW) | headers, body, NOW)


def test_labels_travel_in_the_first_form_unless_there_is_more_to_tell():
    """So pods and collectors of two versions understand each other as long as no token brings anything new."""
    plain, full = an_item(issued_ms=1), an_item(issued_ms=1, audit=True, probabilities=(0.2, 0.3, 0.5), slices=b"\1")
    written = orjson.loads(write_delivery(a_delivery(plain, full)))["items"]

    assert [len(row) for row in written] == [7, 11]
    assert read_delivery(write_delivery(a_delivery(plain, full))).items == (plain, full)


def test_an_announcement_names_slices_and_costs_only_where_there_are_some():
    slices, costs = (Slice(name="region", values=("eu", "us")),), ((0, 1, 2), (1, 0, 2), (1, 2, 0))
    full = an_announcement(slices=slices, costs=costs)

    assert set(orjson.loads(write_announcement(an_announcement()))) == {"model", "revision", "classes"}
    assert read_announcement(write_announcement(full)) == full


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("slices", [["a", ["x"]]] * 5, "at most 4 of 20 values"),
        ("slices", [["a", list("abcdefghijklmnopqrstu")]], "at most 4 of 20 values"),
        ("slices", [["a"]], "a list of name and values"),
        ("slices", [["a" * 129, []]], "at most 128 characters"),
        ("costs", [[0, 1], [1, 0]], "3 lists of 3 numbers"),
        ("costs", [[0, 1, -1]] * 3, "numbers from 0 to 1e12"),
        ("costs", [[0, 1, True]] * 3, "numbers from 0 to 1e12"),
    ],
)
def test_slices_and_costs_that_would_cost_too_much_or_mean_nothing_are_refused(field, value, says):
    message = orjson.loads(write_announcement(an_announcement())) | {field: value}

    with pytest.raises(Incomprehensible, match=says):
        read_announcement(orjson.dumps(message))


def test_messages_say_again_what_was_written():
    delivery = a_delivery(an_item(issued_ms=5, nonce=2**64 - 1, label="größe"), an_item(issued_ms=6))

    assert read_delivery(write_delivery(delivery)) == delivery
    assert read_announcement(write_announcement(an_announcement())) == an_announcement()


@pytest.mark.parametrize("label", ["\0" * 128, "\U0001f431" * 128], ids=["escaped", "wide"])
def test_the_largest_message_a_pod_may_send_fits_the_collectors_limit(label):
    item = an_item(
        issued_ms=2**53 - 1,
        nonce=2**64 - 1,
        rows=65_535,
        row=65_534,
        revision="r" * 63,
        label=label,
        audit=True,
        probabilities=[0.01] * 100,
        request=b"r" * 8,
        slices=b"\1\2\3\4",
    )

    assert len(write_delivery(a_delivery(*[item] * MAX_MESSAGE_ITEMS))) < MAX_MESSAGE_BYTES


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=8)
        | st.dictionaries(st.sampled_from(("model", "sender", "revision", "classes", "items", "x")), inner, max_size=6)
    ),
    max_leaves=20,
)


@given(body=st.binary(max_size=60) | json_values.map(orjson.dumps))
def test_whatever_a_proven_body_holds_it_is_read_or_incomprehensible(body):
    for read, kind in ((read_delivery, Delivery), (read_announcement, Announcement)):
        try:
            assert isinstance(read(body), kind)
        except Incomprehensible:
            continue


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"results": ["accepted", "accepted"]}', b'{"results": ["counted"]}', b'{"results": 1}']
)
def test_results_that_do_not_fit_the_items_are_not_believed(body):
    with pytest.raises(Incomprehensible):
        read_results(body, 1)


async def test_only_holders_of_the_key_can_count(tmp_path):
    clock = Clock()
    async with a_collector(tmp_path / "ours", clock) as collector:
        stranger = KeyRing(key_dir(tmp_path / "theirs", k1=b"2" * 32))
        link = CollectorLink(collector.address, stranger, clock=clock)

        with pytest.raises(CollectorUnavailable, match=r"the collector answered 401: .*signature does not hold"):
            await link.announce(an_announcement())
        link.close()
        assert collector.writer.snapshot.revisions == ()


async def test_a_pod_with_a_newer_key_is_understood_by_a_collector_with_two(tmp_path):
    clock = Clock()
    key_dir(tmp_path / "keys", k1=b"1" * 32, k2=b"2" * 32)
    async with a_collector(tmp_path, clock) as collector:
        for name in ("k1", "k2"):
            ring = KeyRing(key_dir(tmp_path / name, **{name: name[1].encode() * 32}))
            link = CollectorLink(collector.address, ring, clock=clock)
            await link.announce(an_announcement(revision=f"pets-{name}"))
            link.close()
        assert len(collector.writer.snapshot.revisions) == 2


@pytest.mark.parametrize(
    ("announcement", "says"),
    [
        (Announcement(model="pets", revision="pets-1", classes=("cat", "cat")), "'cat' appears twice"),
        (Announcement(model="plants", revision="pets-1", classes=("cat", "dog")), "this collector counts 'pets'"),
        (Announcement(model="pets", revision="", classes=("cat", "dog")), "revision: must be"),
        (
            Announcement(model="pets", revision="pets-0a1b2c3d4e", classes=("cat", "dog")),
            "registered with other classes",
        ),
    ],
)
async def test_an_announcement_that_cannot_be_counted_is_refused_with_its_reason(tmp_path, announcement, says):
    clock = Clock()
    async with a_collector(tmp_path, clock) as collector:
        link = CollectorLink(collector.address, collector.ring, clock=clock)
        await link.announce(an_announcement())

        with pytest.raises(CollectorUnavailable, match=f"answered 400: .*{says}"):
            await link.announce(announcement)
        link.close()


async def test_a_delivery_before_its_announcement_asks_for_it(tmp_path):
    clock = Clock()
    async with a_collector(tmp_path, clock) as collector:
        link = CollectorLink(collector.address, collector.ring, clock=clock)
        delivery = a_delivery(an_item(issued_ms=int(clock.now * 1000)))

        with pytest.raises(Unregistered):
            await link.deliver(delivery)
        await link.announce(an_announcement())
        assert await link.deliver(delivery) == [Result.ACCEPTED]
        link.close()


async def test_a_message_above_the_limit_is_refused_without_harm(tmp_path):
    clock = Clock()
    async with a_collector(tmp_path, clock) as collector:
        link = CollectorLink(collector.address, collector.ring, clock=clock)
        many = a_delivery(*[an_item(issued_ms=int(clock.now * 1000), nonce=n) for n in range(5_001)])

        with pytest.raises(CollectorUnavailable, match=r"answered 400: .*at most 5000"):
            await link.deliver(many)
        await link.announce(an_announcement())
        link.close()
