"""The real collector process: killed, stopped, starved of disk, and asked for its numbers meanwhile."""

import asyncio
import contextlib
import os
import random
import resource
import signal
import time
from pathlib import Path

import numpy as np
import orjson
import pytest

from pilotage_server.feedback import CollectorAddress, FeedbackSettings, KeyRing, open_feedback
from pilotage_server.feedback.collector import CollectorSettings, SettingsRefused, run_collector
from pilotage_server.feedback.probabilities import LETTERS, scores
from pilotage_server.quality.buckets import SCORE_BUCKETS
from support.collector_process import CollectorProcess, a_collector_process
from support.feedback import an_identity, config_file, key_dir, opened, samples, total

REVISION = "pets-0a1b2c3d4e"
CLASSES = tuple(f"c{n:02}" for n in range(100))


@pytest.fixture
def folder(tmp_path):
    key_dir(tmp_path / "keys")
    config_file(tmp_path / "collector.json", label_delay_s=1.0)
    return tmp_path


@contextlib.asynccontextmanager
async def a_pod(collector, *, classes=("cat", "dog", "eel"), audit_rate=0.0):
    """The feedback side of one server pod, with real clocks."""
    address = CollectorAddress(host="127.0.0.1", port=collector.port)
    settings = FeedbackSettings(audit_rate=audit_rate)
    ring = KeyRing(collector.folder / "keys")
    feedback = open_feedback(an_identity(classes=classes), ring, address, settings=settings)
    running = asyncio.create_task(feedback.run())
    try:
        async with asyncio.timeout(20):
            await feedback.registration.registered.wait()
        yield feedback
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def until(fact, *, within_s=20.0):
    """Wait until the awaited fact holds."""
    async with asyncio.timeout(within_s):
        while not await fact():  # noqa: ASYNC110 the fact is about another process
            await asyncio.sleep(0.02)


class Row:
    """One posted row: what it may have been counted as, None for not at all, by everything its client was told."""

    def __init__(self, actual, predicted, token):
        self.actual, self.predicted, self.token = actual, predicted, token
        self.value = actual
        self.counted_as: set[int | None] = set()

    @property
    def item(self):
        return {"token": self.token, "row": 0, "label": CLASSES[self.value]}

    def told_first(self, result, was_lost):
        match result:
            case "accepted":
                self.counted_as = {self.actual}
            case "late":
                self.counted_as = {None}
            case "duplicate" if was_lost:  # stored by a try whose answer a kill took: in time or late
                self.counted_as = {self.actual, None}
            case _:
                raise AssertionError(f"first label: {result}, answer lost before: {was_lost}")

    def told_again(self, result):
        assert result == "duplicate", f"the same label again: {result}"

    def told_correction(self, result, was_lost):
        match result:
            case "accepted":
                assert self.actual in self.counted_as, "a late label was taken back in"
                self.counted_as = {self.value}
            case "corrected":
                pass
            case "duplicate" if was_lost:
                # Whichever try it was: before maturity it replaced the first label, after it changed nothing.
                self.counted_as |= {self.value} if self.actual in self.counted_as else set()
            case _:
                raise AssertionError(f"another label: {result}, answer lost before: {was_lost}")


class Load:
    """Posts labels for confusion cells of 100 classes, each cell once, so that the matrix names every label counted.

    First labels are even classes; a corrected row becomes the odd class behind it.
    """

    def __init__(self, feedback, rng):
        self.feedback = feedback
        self.rng = rng
        self.cells = [(actual, predicted) for actual in range(0, 100, 2) for predicted in range(100)]
        rng.shuffle(self.cells)
        self.rows = []
        self.scores = {}
        self.audited = set()
        self.lost_answers = 0
        self.is_over = False

    async def post(self):
        """Post requests of five labels until told to stop; repeat some, correct others."""
        while self.cells and not self.is_over:
            rows = [self.row(*self.cells.pop()) for _ in range(min(5, len(self.cells)))]
            for row, result, was_lost in await self.told(rows):
                row.told_first(result, was_lost)
            self.rows += rows
            again = [row for row in rows if self.rng.random() < 0.3]
            for row, result, _ in await self.told(again):
                row.told_again(result)
            corrected = [row for row in rows if self.rng.random() < 0.3]
            for row in corrected:
                row.value = row.actual + 1
            for row, result, was_lost in await self.told(corrected):
                row.told_correction(result, was_lost)
            await asyncio.sleep(0.004)  # pace: the load must outlast all kills

    async def told(self, rows):
        """What each row is told; a request that failed is posted again, as a client would."""
        body, was_lost = orjson.dumps({"feedback": [row.item for row in rows]}), False
        while (answer := await self.feedback.endpoint.handle(body))[0] == 503:
            was_lost = True
            self.lost_answers += 1
            await asyncio.sleep(0.02)
        results = orjson.loads(answer[2])["results"]
        return [(row, result["result"], was_lost) for row, result in zip(rows, results, strict=True)]

    def row(self, actual, predicted):
        """A labelled prediction; what its probabilities say of either label is kept to compare with."""
        weights = np.random.default_rng(predicted).random((1, 100)) ** 20
        issued = self.feedback.signer.issue([predicted], weights / weights.sum(), time.time())
        token = opened(issued.token, self.feedback.ring)
        for value in (actual, actual + 1):
            self.scores[value, predicted] = scores(token.probabilities[0], 100, value)
            if issued.is_audited:
                self.audited.add((value, predicted))
        return Row(actual, predicted, issued.token)

    async def progresses(self, by):
        async def more():
            return len(self.rows) >= goal

        goal = len(self.rows) + by
        await until(more)


KILL_SEEDS = range(int(os.environ.get("PILOTAGE_KILL_SEEDS", "1")))
"""More of them make a soak: PILOTAGE_KILL_SEEDS=50 pytest -k killed_under_load."""


@pytest.mark.parametrize("seed", KILL_SEEDS)
async def test_killed_under_load_it_counts_every_accepted_label_once_and_no_other(folder, seed):
    rng = random.Random(seed)
    config_file(folder / "collector.json", label_delay_s=1.0, export=["scores", "loss"], auditRate=0.3)
    async with a_collector_process(folder) as collector, a_pod(collector, classes=CLASSES, audit_rate=0.3) as feedback:
        load = Load(feedback, rng)
        posting = [asyncio.create_task(load.post()) for _ in range(4)]
        for _ in range(4):
            await load.progresses(rng.randint(1, 150))
            await collector.kill()
            await collector.start()
        await load.progresses(50)
        load.is_over = True
        await asyncio.gather(*posting)

        async def all_matured():
            counts = (await collector.quality())["revisions"][REVISION]
            return counts["pendingRows"] == 0 and counts["countedRows"] > 0

        await until(all_matured)
        counts = (await collector.quality())["revisions"][REVISION]

    assert load.cells, "the load ended before the kills did"
    assert load.lost_answers, "no kill met a request"
    matrix = {
        (CLASSES.index(actual), CLASSES.index(predicted)): counted
        for actual, row in counts["confusion"].items()
        for predicted, counted in row.items()
        if counted
    }
    assert set(matrix.values()) == {1}, "counted twice"
    for row in load.rows:
        found = {value for value in (row.actual, row.actual + 1) if (value, row.predicted) in matrix} or {None}
        assert len(found) == 1, "counted once as each of its labels"
        assert found <= row.counted_as, (row.actual, row.predicted)
        matrix.pop((found.pop(), row.predicted), None)
    assert not matrix, "counted without having been posted"
    assert counts["matured"] == counts["confusion"]
    check_scores(counts, load)


def check_scores(counts, load):
    """Every other counter holds exactly the labels that the matrix names."""
    counted = [
        (CLASSES.index(actual), CLASSES.index(predicted))
        for actual, row in counts["confusion"].items()
        for predicted, rows in row.items()
        if rows
    ]
    losses = [load.scores[cell].loss for cell in counted]
    assert counts["loss"] == {
        "count": len(counted),
        "sum": sum(losses),
        "sumsq": sum(loss**2 for loss in losses),
    }
    assert counts["lossRows"]["brier"] == sum(load.scores[cell].brier for cell in counted)
    assert sum(map(sum, (row.values() for row in counts["audit"].values()))) == len(load.audited & set(counted))
    for index, name in enumerate(CLASSES):
        for is_true in (0, 1):
            expected = [0] * SCORE_BUCKETS
            for cell in counted:
                if (cell[0] == index) == is_true:
                    expected[LETTERS.index(load.scores[cell].buckets[index].encode())] += 1
            assert counts["buckets"][name][str(is_true)] == expected


async def test_asked_to_stop_it_finishes_waits_for_one_scrape_and_exits_0(folder):
    async with a_collector_process(folder) as collector, a_pod(collector) as feedback:
        token = feedback.signer.sign([0], None, time.time())
        body = orjson.dumps({"feedback": [{"token": token, "row": 0, "label": "cat"}]})
        assert (await feedback.endpoint.handle(body))[0] == 200

        collector.send(signal.SIGTERM)

        async def not_ready():
            return (await collector.get("/v2/health/ready"))[0] == 503

        await until(not_ready)
        assert (await feedback.endpoint.handle(body))[0] == 503
        assert (await collector.get("/v2/health/live"))[0] == 200
        read = samples((await collector.get("/metrics"))[1])
        assert total(read, "model_feedback_total", result="accepted", revision=REVISION) == 1
        assert await collector.ended(within_s=10) == 0


async def test_a_second_signal_ends_the_wait_for_a_scrape(folder):
    async with a_collector_process(folder) as collector:
        collector.send(signal.SIGTERM)

        async def drained():
            return any("collector.drained" in line for line in collector.last_lines)

        await until(drained)
        collector.send(signal.SIGINT)
        assert await collector.ended(within_s=10) == 0


async def test_without_disk_space_nothing_is_accepted_and_the_numbers_stay_up(folder):
    async with a_collector_process(folder) as collector, a_pod(collector) as feedback:
        signer = feedback.signer

        async def post(count):
            items = [{"token": signer.sign([0], None, time.time()), "row": 0, "label": "cat"} for _ in range(count)]
            return (await feedback.endpoint.handle(orjson.dumps({"feedback": items})))[0]

        assert await post(3) == 200
        # The process may not make any file longer than it is: what a full volume looks like.
        limits = resource.prlimit(collector.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        assert await post(5) == 503
        assert (await collector.get("/v2/health/ready"))[0] == 503
        assert (await collector.get("/v2/health/live"))[0] == 200
        assert (await collector.quality())["revisions"][REVISION]["countedRows"] in {0, 3}

        resource.prlimit(collector.pid, resource.RLIMIT_FSIZE, limits)

        async def accepts_again():
            return await post(1) == 200

        async def all_counted():
            counts = (await collector.quality())["revisions"][REVISION]
            return counts["countedRows"] == 4

        await until(accepts_again)
        await until(all_counted)


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda folder: (folder / "collector.json").unlink(), "mount the ConfigMap of the collector there"),
        (lambda folder: config_file(folder / "collector.json", label_delay_s=-1), "labelDelaySeconds: -1"),
        (lambda folder: config_file(folder / "collector.json", labelDelay=5), "labelDelay: unknown key"),
        (lambda folder: (folder / "keys" / "k1").write_bytes(b"short"), "k1: 5 bytes"),
        (lambda folder: (folder / "data").write_text("a file"), "mount a writable volume there"),
    ],
    ids=["no-config", "negative-delay", "unknown-key", "short-key", "no-folder"],
)
def test_what_it_cannot_start_with_is_named_with_the_remedy(folder, break_it, says):
    break_it(folder)
    settings = CollectorSettings(
        config=folder / "collector.json", data=folder / "data", key_dir=folder / "keys", host="127.0.0.1"
    )

    with pytest.raises(SettingsRefused, match=says):
        run_collector(settings)


async def test_a_refused_start_is_one_sentence_and_no_traceback(folder):
    config_file(folder / "collector.json", label_delay_s=-1)
    collector = CollectorProcess(folder)

    with pytest.raises(AssertionError, match="labelDelaySeconds: -1"):
        await collector.start()

    assert await collector.ended() in {1, 2}
    assert "Traceback" not in "\n".join(collector.last_lines)


async def test_a_second_collector_on_the_same_volume_does_not_start(folder):
    async with a_collector_process(folder):
        second = CollectorProcess(folder)
        with pytest.raises(AssertionError, match="another collector using this volume"):
            await second.start()
        assert await second.ended() != 0


async def test_it_finds_its_mounts_under_the_pods_root(folder, monkeypatch):
    monkeypatch.setenv("PILOTAGE_POD_ROOT", str(folder))
    mounts = CollectorProcess(Path("/pilotage"))
    for name in ("keys", "collector.json"):
        source = folder / name
        target = folder / "pilotage" / name
        target.parent.mkdir(exist_ok=True)
        source.rename(target)
    try:
        await mounts.start()
        assert (await mounts.get("/v2/health/ready"))[0] == 200
    finally:
        await mounts.stop()
    assert (folder / "pilotage" / "data" / "ledger.sqlite3").exists()
