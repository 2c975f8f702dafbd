"""What the collector shows while it works: one committed state per scrape, in formats others read."""

import asyncio

import aiohttp
import orjson
import pytest
import structlog
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from pilotage_server.feedback import CollectorLink, CollectorUnavailable, Result
from pilotage_server.feedback.collector import writer as writing
from pilotage_server.feedback.collector.ledger import MAX_AGE_MS
from pilotage_server.feedback.collector.settings import ConfigFile, SettingsRefused
from pilotage_server.feedback.collector.work import Delivered
from pilotage_server.feedback.collector.writer import Busy
from support.feedback import (
    CLASSES,
    REVISION,
    Clock,
    a_collector,
    a_delivery,
    an_announcement,
    an_item,
    config_file,
    eventually,
    samples,
    total,
)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def collector(tmp_path, clock):
    async with a_collector(tmp_path, clock) as running:
        yield running


def now_ms(clock):
    return int(clock.now * 1000)


async def test_a_scrape_names_ledger_model_and_revision_and_agrees_with_quality(collector, clock):
    await collector.writer.submit(an_announcement())
    labels = [("cat", 0), ("cat", 0), ("cat", 1), ("dog", 1), ("eel", 0)]
    await collector.writer.submit(
        a_delivery(
            *[
                an_item(issued_ms=now_ms(clock), nonce=n, label=label, predicted=predicted)
                for n, (label, predicted) in enumerate(labels)
            ],
            an_item(issued_ms=now_ms(clock), nonce=77, label="dog", predicted=2, rows=2, row=0),
            an_item(issued_ms=now_ms(clock), nonce=77, label="dog", predicted=2, rows=2, row=1),
        )
    )
    clock.advance(60)
    await collector.matured()

    read = samples((await collector.get("/metrics"))[1])
    quality = await collector.quality()

    for name, key, dog_eel in (
        ("pilotage_matured_labels_total", "matured", 1),
        ("model_confusion_total", "confusion", 2),
    ):
        for actual in CLASSES:
            for predicted in CLASSES:
                names = {"actual": actual, "predicted": predicted, "model": "pets", "revision": REVISION}
                value = total(read, name, ledger=quality["ledger"], **names)
                expected = sum((label, CLASSES[index]) == (actual, predicted) for label, index in labels)
                expected += dog_eel * ((actual, predicted) == ("dog", "eel"))
                assert value == quality["revisions"][REVISION][key][actual][predicted] == expected
    assert total(read, "pilotage_label_delay_seconds", ledger=quality["ledger"], model="pets") == 60
    assert total(read, "pilotage_ledger_committed_until_seconds") >= clock.now
    assert quality["labelDelaySeconds"] == 60


async def test_all_cells_of_one_scrape_come_from_one_committed_state(collector, clock):
    """Each maturing adds one to every cell of both revisions: a scrape that mixes two states would show it."""
    revisions = ("pets-stable", "pets-canary")
    for revision in revisions:
        await collector.writer.submit(an_announcement(revision=revision))

    async def label_all_cells(second):
        items = [
            an_item(
                issued_ms=now_ms(clock), nonce=second * 100 + n, label=label, predicted=predicted, revision=revision
            )
            for n, (revision, label, predicted) in enumerate(
                (revision, label, predicted) for revision in revisions for label in CLASSES for predicted in range(3)
            )
        ]
        await collector.writer.submit(a_delivery(*items, sender=revisions[0]))

    async def traffic():
        for second in range(40):
            await label_all_cells(second)
            clock.advance(60)

    seen = set()
    running = asyncio.create_task(traffic())
    while not running.done():
        read = samples((await collector.get("/metrics"))[1])
        values = {
            value
            for (name, _), value in read.items()
            if name in {"pilotage_matured_labels_total", "model_confusion_total"}
        }
        assert len(values) == 1, "one scrape, two states"
        seen |= values
    await running
    assert len(seen) > 1, "nothing matured between two scrapes"


async def test_openmetrics_is_spoken_to_those_who_ask_for_it(collector):
    await collector.writer.submit(an_announcement())

    _, text = await collector.get("/metrics", accept="application/openmetrics-text; version=1.0.0")

    families = {family.name: family.type for family in parse_openmetrics(text.decode())}
    assert families["pilotage_matured_labels"] == families["model_confusion"] == "counter"
    assert families["pilotage_label_delay_seconds"] == "gauge"


async def test_label_values_with_quotes_and_newlines_survive_the_scrape(collector):
    classes = ('say "hi"', "back\\slash", "new\nline", "größe")
    await collector.writer.submit(an_announcement(classes=classes))

    read = samples((await collector.get("/metrics"))[1])

    actual = {dict(labels)["actual"] for (name, labels) in read if name == "model_confusion_total"}
    assert actual == set(classes)


async def test_the_maturity_mark_moves_without_any_traffic(collector, clock):
    for _ in range(3):
        clock.advance(1)
        await collector.matured()
    assert total(samples((await collector.get("/metrics"))[1]), "pilotage_ledger_committed_until_seconds") == clock.now


async def test_a_new_label_delay_acts_without_a_restart_and_shows_in_the_scrape(collector, clock, tmp_path):
    await collector.writer.submit(an_announcement())
    await collector.writer.submit(a_delivery(an_item(issued_ms=now_ms(clock))))

    with structlog.testing.capture_logs() as logs:
        config_file(tmp_path / "collector.json", label_delay_s=5.5)
        clock.advance(6)
        await eventually(lambda: collector.writer.snapshot.label_delay_ms == 5_500)

    assert [log["event"] for log in logs] == ["collector.config_changed"]
    assert collector.writer.snapshot.revisions[0].counted_rows == 1
    read = samples((await collector.get("/metrics"))[1])
    assert total(read, "pilotage_label_delay_seconds", model="pets") == 5.5


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"model": "pets", "namespace": "models", "cluster": "aws"}',
        b'{"model": "pets", "namespace": "models", "cluster": "aws", "labelDelaySeconds": "10m"}',
        b'{"model": "pets", "namespace": "models", "cluster": "aws", "labelDelaySeconds": 9e9}',
        b'{"model": "pets", "namespace": "models", "cluster": "aws", "labelDelaySeconds": 5, "labelDelay": 5}',
        b'{"model": "plants", "namespace": "models", "cluster": "aws", "labelDelaySeconds": 5}',
    ],
    ids=range(8),
)
def test_a_config_that_cannot_be_used_leaves_the_old_one_in_force_and_is_logged_once(tmp_path, content):
    file = ConfigFile(config_file(tmp_path / "collector.json", label_delay_s=60))
    (tmp_path / "collector.json").write_bytes(content)

    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            file.refresh()

    assert file.current.label_delay_s == 60
    assert [log["event"] for log in logs] == ["collector.config_refused"]


def test_a_config_file_that_vanishes_for_a_moment_changes_nothing(tmp_path):
    path = config_file(tmp_path / "collector.json", label_delay_s=60)
    file = ConfigFile(path)
    path.unlink()
    with structlog.testing.capture_logs() as logs:
        file.refresh()
        file.refresh()
    config_file(path, label_delay_s=30)
    file.refresh()

    assert len(logs) == 1
    assert file.current.label_delay_s == 30


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"labelDelaySeconds": None}, "labelDelaySeconds: None is not a number"),
        ({"labelDelaySeconds": 29 * 86_400 + 1}, r"labelDelaySeconds: 2505601 is outside \[0, "),
        ({"model": ""}, "model: ''"),
        ({"clutser": "aws"}, "clutser: unknown key; did you mean 'cluster'"),
    ],
)
def test_a_config_is_refused_with_field_value_and_remedy(tmp_path, fields, says):
    with pytest.raises(SettingsRefused, match=says):
        ConfigFile(config_file(tmp_path / "collector.json", **fields))


async def test_what_queues_during_one_commit_is_the_next_transaction(collector, clock):
    await collector.writer.submit(an_announcement())
    deliveries = [a_delivery(an_item(issued_ms=now_ms(clock), nonce=n)) for n in range(200)]

    outcomes = await asyncio.gather(*[collector.writer.submit(delivery) for delivery in deliveries])

    assert outcomes == [Delivered((Result.ACCEPTED,))] * 200


async def test_beyond_its_bound_the_queue_refuses_and_what_was_taken_is_still_written(collector, clock, monkeypatch):
    monkeypatch.setattr(writing, "MAX_QUEUED_ITEMS", 3)
    await collector.writer.submit(an_announcement())
    taken = [
        asyncio.create_task(collector.writer.submit(a_delivery(an_item(issued_ms=now_ms(clock), nonce=n))))
        for n in range(3)
    ]
    await asyncio.sleep(0)

    with pytest.raises(Busy, match="3 labels are waiting to be written"):
        await collector.writer.submit(a_delivery(an_item(issued_ms=now_ms(clock), nonce=9)))
    assert await asyncio.gather(*taken) == [Delivered((Result.ACCEPTED,))] * 3


async def test_a_collector_that_is_never_idle_forgets_old_rows_all_the_same(collector, clock):
    await collector.writer.submit(an_announcement())
    await collector.writer.submit(a_delivery(an_item(issued_ms=now_ms(clock))))
    clock.advance(31 * 24 * 3_600)

    for _ in range(20):  # each comes before the writer would find itself without work
        await collector.writer.submit(an_announcement())

    assert collector.writer._ledger._expired_before_ms == now_ms(clock) - MAX_AGE_MS - 3_600_000


async def test_a_full_queue_is_a_503_with_retry_after_to_pods(collector, clock, monkeypatch):
    monkeypatch.setattr(writing, "MAX_QUEUED_ITEMS", 0)
    link = CollectorLink(collector.address, collector.ring, clock=clock)

    with pytest.raises(CollectorUnavailable, match=r"answered 503: .*waiting to be written"):
        await link.announce(an_announcement())
    link.close()


async def test_the_message_port_shows_nothing_and_the_admin_port_takes_nothing(collector):
    async with aiohttp.ClientSession() as session:
        for port, path in (
            (collector.port, "/metrics"),
            (collector.port, "/quality"),
            (collector.admin_port, "/v1/labels"),
        ):
            async with session.post(f"http://127.0.0.1:{port}{path}", data=b"{}") as response:
                assert response.status in {404, 405}
        async with session.post(f"http://127.0.0.1:{collector.port}/v1/labels", data=b"{}") as response:
            assert response.status == 401
            assert orjson.loads(await response.read())["error"].startswith("headers x-pilotage-time")


async def test_probes_answer_as_the_inference_protocol_writes_them(collector):
    assert await collector.get("/v2/health/live") == (200, b'{"live":true}')
    assert await collector.get("/v2/health/ready") == (200, b'{"live":true,"ready":true}')
