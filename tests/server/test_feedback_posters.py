"""Who may post labels, how fast, and whose labels are which."""

import orjson
import pytest

from pilotage_server.feedback import (
    FeedbackEndpoint,
    FeedbackRefused,
    FeedbackSettings,
    Forwarder,
    KeyRing,
    TokenSigner,
)
from pilotage_server.feedback.credentials import Budget, Credentials
from pilotage_server.feedback.link import CollectorUnavailable
from pilotage_server.feedback.registration import refresh_or_keep
from pilotage_server.feedback.results import Result
from support.feedback import START_S, MonotonicClock, an_identity, key_dir

TOKENS = {"clinic": b"c" * 32, "lab.north": b"n" * 32 + b"\n"}


class Desk(Forwarder):
    """Stands where the collector would: accepts everything, or nothing."""

    def __init__(self):
        self.items = []
        self.is_there = True

    async def submit(self, items):
        if not self.is_there:
            raise CollectorUnavailable("gone", retry_after_s=3)
        self.items += items
        return [Result.ACCEPTED for _ in items]


@pytest.fixture
def credentials(tmp_path):
    return Credentials(key_dir(tmp_path / "credentials", **TOKENS))


@pytest.fixture
def monotonic():
    return MonotonicClock()


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def ring(tmp_path):
    return KeyRing(key_dir(tmp_path / "keys"))


@pytest.fixture
def endpoint(ring, desk, credentials, monotonic):
    budget = Budget(10, most_at_once=10, monotonic=monotonic)
    return FeedbackEndpoint(an_identity(), ring, desk, credentials=credentials, budget=budget)


def request(ring, count=1):
    signer = TokenSigner(ring, an_identity())
    items = [{"token": signer.sign([0], None, START_S), "row": 0, "label": "cat"} for _ in range(count)]
    return orjson.dumps({"feedback": items})


def counted(endpoint, name):
    return {
        (sample.labels.get("identity", ""), sample.labels.get("result", "")): sample.value
        for family in endpoint.tally.collect()
        for sample in family.samples
        if sample.name == name and sample.value
    }


@pytest.mark.parametrize(
    "header",
    [
        *(None, b"", b"Bearer", b"Bearer ", b"Bearer wrong-wrong-wrong-wrong", b"Basic " + b"c" * 32),
        *(
            b"c" * 32,
            b"Bearer " + b"c" * 31,
            b"Bearer " + b"c" * 33,
            b"Bearer \xff\xfe",
            b"Bearer " + b"c" * 32 + b" x",
        ),
    ],
)
async def test_without_a_known_token_nothing_is_looked_at(endpoint, ring, desk, header):
    status, headers, body = await endpoint.handle(request(ring), header)

    assert status == 401
    assert (b"www-authenticate", b'Bearer realm="feedback"') in headers
    assert "bearer token" in orjson.loads(body)["error"]
    assert not desk.items
    assert counted(endpoint, "model_feedback_unauthorized_total") == {("", ""): 1}


async def test_labels_are_counted_by_who_posted_them(endpoint, ring):
    assert (await endpoint.handle(request(ring, 2), b"Bearer " + b"c" * 32))[0] == 200
    assert (await endpoint.handle(b'{"feedback": [{}]}', b"bearer  " + b"n" * 32))[0] == 200

    assert counted(endpoint, "model_feedback_posted_total") == {
        ("clinic", "accepted"): 2,
        ("lab.north", "malformed"): 1,
    }


async def test_without_a_folder_everybody_is_anonymous(ring, desk):
    endpoint = FeedbackEndpoint(an_identity(), ring, desk)

    assert (await endpoint.handle(request(ring)))[0] == 200
    assert (await endpoint.handle(request(ring), b"Bearer whatever"))[0] == 200
    assert counted(endpoint, "model_feedback_posted_total") == {("anonymous", "accepted"): 2}


@pytest.mark.parametrize("may_be_closed", [False, True])
def test_lines_that_cannot_be_read_are_refused_and_let_nobody_in(may_be_closed):
    with pytest.raises(FeedbackRefused, match="line 1 is not a new identity and its token"):
        Credentials(None, "clinic its token", may_be_closed=may_be_closed)


async def test_one_identity_over_its_budget_waits_and_the_other_does_not(endpoint, ring, desk, monotonic):
    clinic, north = b"Bearer " + b"c" * 32, b"Bearer " + b"n" * 32
    assert (await endpoint.handle(request(ring, 8), clinic))[0] == 200

    status, headers, body = await endpoint.handle(request(ring, 8), clinic)
    assert (status, dict(headers)[b"retry-after"]) == (429, b"1")
    assert "more items than clinic may post here" in orjson.loads(body)["error"]
    assert (await endpoint.handle(request(ring, 8), north))[0] == 200
    monotonic.now += 1
    assert (await endpoint.handle(request(ring, 8), clinic))[0] == 200

    assert len(desk.items) == 24
    assert counted(endpoint, "model_feedback_posted_total")["clinic", "limited"] == 8


async def test_items_that_could_not_be_stored_are_counted_as_such(endpoint, ring, desk):
    desk.is_there = False

    status, headers, _ = await endpoint.handle(request(ring, 2), b"Bearer " + b"c" * 32)

    assert (status, dict(headers)[b"retry-after"]) == (503, b"3")
    assert counted(endpoint, "model_feedback_posted_total") == {("clinic", "unavailable"): 2}


def test_a_full_bucket_takes_one_request_whatever_the_rate(monotonic):
    slow = Budget(0.5, most_at_once=1_000, monotonic=monotonic)

    assert slow.take("clinic", 1_000) == 0
    assert slow.take("clinic", 1) == 2.0
    assert Budget(0, most_at_once=1, monotonic=monotonic).take("clinic", 10**6) == 0


def test_a_token_that_is_exchanged_acts_at_the_next_look(credentials, tmp_path):
    key_dir(tmp_path / "credentials", clinic=b"d" * 32)

    credentials.refresh()

    assert credentials.identify(b"Bearer " + b"c" * 32) is None
    assert credentials.identify(b"Bearer " + b"d" * 32) == "clinic"


def test_a_folder_that_became_unusable_leaves_the_old_tokens_in_force_and_is_logged_once(credentials, tmp_path):
    key_dir(tmp_path / "credentials", clinic=b"short")

    refused = refresh_or_keep(credentials, "credentials")

    assert "a token is 16 or more visible ASCII characters" in refused
    assert refresh_or_keep(credentials, "credentials", refused) == refused
    assert credentials.identify(b"Bearer " + b"c" * 32) == "clinic"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "0 tokens; give 1 to 20"),
        ({"anonymous": b"a" * 32}, "'anonymous' names no identity"),
        ({"Clinic": b"a" * 32}, "'Clinic' names no identity"),
        ({"clinic": b"a b" * 10}, "16 or more visible ASCII"),
        ({"clinic": b"a" * 32, "lab": b"a" * 32}, "two identities share a token"),
    ],
)
def test_a_folder_nobody_could_tell_apart_is_refused(tmp_path, files, says):
    folder = tmp_path / "credentials"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)

    with pytest.raises(FeedbackRefused, match=says):
        Credentials(folder)


def test_a_missing_folder_names_the_variable(tmp_path):
    with pytest.raises(FeedbackRefused, match=r"PILOTAGE_FEEDBACK_CREDENTIALS_DIR: .* mount a Secret"):
        Credentials(tmp_path / "nowhere")


def test_a_collector_without_its_secret_lets_nobody_in_until_it_is_there(tmp_path):
    folder = tmp_path / "credentials"
    folder.mkdir()
    credentials = Credentials(folder, may_be_closed=True)

    assert credentials.identify(None) is None
    assert credentials.identify(b"Bearer ") is None
    assert "0 tokens" in refresh_or_keep(credentials, "credentials")
    key_dir(folder, aws=b"a" * 32)
    assert refresh_or_keep(credentials, "credentials") == ""
    assert credentials.identify(b"Bearer " + b"a" * 32) == "aws"


def test_identities_may_come_as_lines_of_a_variable():
    lines = Credentials(None, f"clinic {'c' * 32}\n\nlab.north   {'n' * 32}\n")

    assert lines.identities == ("clinic", "lab.north")
    assert lines.identify(b"Bearer " + b"n" * 32) == "lab.north"
    assert lines.identify(None) is None
    assert Credentials(None, "  \n").identify(None) == "anonymous"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("clinic", "line 1 is not a new identity and its token"),
        (f"clinic {'c' * 32}\nclinic {'d' * 32}", "line 2 is not a new identity"),
        (f"clinic {'c' * 32} more", "line 1"),
        ("clinic short", "clinic: a token is 16 or more"),
    ],
)
def test_lines_that_tell_nobody_apart_are_refused_without_a_token_in_the_message(lines, says):
    with pytest.raises(FeedbackRefused, match=says) as refused:
        Credentials(None, lines)
    assert "cccc" not in str(refused.value)


def test_lines_that_are_there_and_blank_are_refused_not_an_open_door():
    with pytest.raises(FeedbackRefused, match="is set and blank"):
        FeedbackSettings.from_env({"PILOTAGE_FEEDBACK_CREDENTIALS": "\n"})


def test_a_folder_and_lines_at_once_are_refused(tmp_path):
    env = {"PILOTAGE_FEEDBACK_CREDENTIALS_DIR": str(tmp_path), "PILOTAGE_FEEDBACK_CREDENTIALS": "clinic " + "c" * 32}
    with pytest.raises(FeedbackRefused, match="leave one of them out"):
        FeedbackSettings.from_env(env)
