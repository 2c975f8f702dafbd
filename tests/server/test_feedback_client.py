"""The batch client against servers that accept, refuse, break and come back."""

import asyncio
import contextlib
import csv
import json
import threading
from collections import Counter

import orjson
import pytest
from aiohttp import web
from typer.testing import CliRunner

from pilotage_server.feedback import labels as files
from pilotage_server.feedback.client import NotDelivered, PostRefused, Target, find_model, post_labels
from pilotage_server.feedback.labels import Columns, Journal, LabelsRefused, Report, batches, read_labels
from pilotage_server.train.cli import app


class Server:
    """Answers feedback as told: each token once `accepted`, then `duplicate`; `refusals` come first."""

    def __init__(self):
        self.url = ""
        self.seen: Counter[tuple[str, int, str]] = Counter()
        self.refusals = []
        self.special = {}
        self.requests = []
        self.models = ["pets"]

    async def feedback(self, request):
        posted = orjson.loads(await request.read())["feedback"]
        self.requests.append((len(posted), request.headers.get("authorization")))
        if self.refusals:
            status, headers = self.refusals.pop(0)
            if status == 0:
                request.transport.close()
                return web.Response()
            return web.json_response({"error": "not now"}, status=status, headers=headers)
        results = []
        for item in posted:
            key = (item["token"], item["row"], item["label"])
            self.seen[key] += 1
            result = "duplicate" if self.seen[key] > 1 else "accepted"
            results.append(self.special.get(item["token"], {"result": result}))
        return web.json_response({"results": results})

    async def list_models(self, _):
        return web.json_response({"models": self.models})


@pytest.fixture
async def server():
    desk = Server()
    async with listening(desk) as url:
        desk.url = url
        yield desk


@contextlib.asynccontextmanager
async def listening(desk):
    application = web.Application()
    application.router.add_post("/v2/models/pets/feedback", desk.feedback)
    application.router.add_get("/v1/models", desk.list_models)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.csv"
    write(path, [(f"token-{n}", n % 3, f"c{n % 5}") for n in range(1_000)])
    return path


def write(path, rows, header=("token", "row", "label")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


async def run(path, server, *, size=50, at_once=4, patience_s=30.0, columns=None):
    """One run of the client over the file, as the command makes it."""
    target = Target(server=server.url, model="pets", at_once=at_once, patience_s=patience_s)
    journal = Journal(path.with_suffix(".journal"), path, server.url)
    report = Report(path.with_suffix(".rejected.csv"), goes_on=True)
    try:
        groups = batches(read_labels(path, columns or Columns()), size=size)
        return await post_labels(target, groups, journal, report)
    finally:
        journal.close()
        report.close()


def rejected(path):
    with path.with_suffix(".rejected.csv").open(newline="") as file:
        return list(csv.DictReader(file))


async def test_every_row_of_a_file_is_posted_once(labels, server):
    progress = await run(labels, server)

    assert progress.results == {"accepted": 1_000}
    assert len(server.seen) == 1_000
    assert set(server.seen.values()) == {1}
    assert {count for count, _ in server.requests} == {50}
    assert not labels.with_suffix(".rejected.csv").exists()


async def test_what_the_server_cannot_take_now_is_posted_again_as_it_was(labels, server):
    server.refusals = [(503, {"retry-after": "0"}), (429, {}), (500, {}), (0, {}), (503, {})]

    progress = await run(labels, server, size=250)

    assert progress.results.total() == len(server.seen) == 1_000
    assert progress.retries == 5


async def test_an_interrupted_run_goes_on_where_it_stopped(labels, server):
    first = asyncio.create_task(run(labels, server, size=10, at_once=2))
    while len(server.seen) < 100:  # noqa: ASYNC110 the server counts
        await asyncio.sleep(0.001)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    before = len(server.seen)

    second = await run(labels, server, size=10)

    assert 100 <= before < 1_000
    assert len(server.seen) == 1_000
    assert second.skipped >= before - 2 * 10  # at most the two requests under way are sent twice
    assert second.skipped + second.posted == 1_000
    third = await run(labels, server, size=10)
    assert (third.posted, third.skipped) == (0, 1_000)


async def test_half_a_line_of_a_journal_costs_one_batch_sent_twice(labels, server):
    await run(labels, server, size=100)
    journal = labels.with_suffix(".journal")
    journal.write_text(journal.read_text()[:-6])

    again = await run(labels, server, size=100)

    assert again.results == {"duplicate": 100}
    assert (await run(labels, server, size=100)).posted == 0


async def test_a_journal_of_another_file_or_server_is_not_gone_on_from(labels, server, tmp_path):
    await run(labels, server)
    write(labels, [("another", 0, "c1")])

    with pytest.raises(LabelsRefused, match="was written for another sha256; delete it to begin anew"):
        await run(labels, server)
    labels.with_suffix(".journal").write_text("something else\n")
    with pytest.raises(LabelsRefused, match="is no journal of this command"):
        await run(labels, server)


async def test_rejected_rows_are_reported_with_number_reason_and_cluster(labels, server):
    server.special = {
        "token-3": {"result": "wrong_cluster", "cluster": "gcp", "reason": "predicted in cluster gcp"},
        "token-7": {"result": "late", "reason": "older than labelDelay"},
    }

    progress = await run(labels, server)

    assert progress.results == {"accepted": 998, "wrong_cluster": 1, "late": 1}
    by_number = {int(row["number"]): row for row in rejected(labels)}
    assert (by_number[4]["result"], by_number[4]["cluster"], by_number[4]["row"]) == ("wrong_cluster", "gcp", "0")
    assert by_number[8]["reason"] == "older than labelDelay"


async def test_rows_that_cannot_be_posted_are_reported_and_the_others_posted(tmp_path, server):
    path = tmp_path / "labels.csv"
    write(path, [("a", "", "cat"), ("", 0, "cat"), ("b", "first", "cat"), ("c", 1, ""), ("d", 2, "dog")])

    progress = await run(path, server)

    assert progress.results == {"accepted": 2, "unreadable": 3}
    assert set(server.seen) == {("a", 0, "cat"), ("d", 2, "dog")}
    assert [(row["number"], row["reason"]) for row in rejected(path)] == [
        ("2", "no token"),
        ("3", "row 'first' is no whole number"),
        ("4", "no label"),
    ]


async def test_json_lines_are_read_and_numbers_are_labels(tmp_path, server):
    path = tmp_path / "labels.jsonl"
    lines = [{"token": "a", "label": 7}, {"token": "b", "row": 1, "label": "7"}, ["no"], {"token": "c", "label": True}]
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\nbroken\n")

    progress = await run(path, server)

    assert set(server.seen) == {("a", 0, "7"), ("b", 1, "7")}
    assert progress.results == {"accepted": 2, "unreadable": 3}


async def test_columns_may_have_other_names(tmp_path, server):
    path = tmp_path / "labels.csv"
    write(path, [("a", 4, "cat")], header=("feedback_token", "position", "truth"))

    with pytest.raises(LabelsRefused, match=r"has no label and no token \(found: feedback_token, position, truth\)"):
        await run(path, server)
    await run(path, server, columns=Columns(token="feedback_token", row="position", label="truth"))

    assert set(server.seen) == {("a", 4, "cat")}


async def test_long_tokens_make_smaller_requests(tmp_path, server, monkeypatch):
    monkeypatch.setattr(files, "MAX_BATCH_BYTES", 10_000)
    path = tmp_path / "labels.csv"
    write(path, [(f"{n:04}" * 500, 0, "cat") for n in range(20)])

    await run(path, server)

    assert max(count for count, _ in server.requests) == 4


async def test_patience_ends_and_the_journal_keeps_what_was_done(labels, server):
    await run(labels, server, size=1_000)
    labels.with_suffix(".journal").unlink()
    server.refusals = [(503, {})] * 100

    with pytest.raises(NotDelivered, match=r"nothing went forward for 0 s \(503: not now\)"):
        await run(labels, server, patience_s=0)


@pytest.mark.parametrize(
    ("status", "says"), [(400, "answered 400: not now"), (401, "answered 401"), (404, "answered 404"), (413, "413")]
)
async def test_a_refusal_for_good_ends_the_run_at_once(labels, server, status, says):
    server.refusals = [(status, {})] * 4

    with pytest.raises(PostRefused, match=says):
        await run(labels, server)


async def test_a_server_of_one_model_need_not_be_told_which(server):
    assert await find_model(server.url) == "pets"
    server.models = ["pets", "digits"]
    with pytest.raises(PostRefused, match="name one with --model"):
        await find_model(server.url)
    server.models = "pets"
    with pytest.raises(PostRefused, match="name one with --model"):
        await find_model(server.url)
    with pytest.raises(NotDelivered, match="cannot be reached"):
        await find_model("http://127.0.0.1:9")


def invoke(*arguments):
    return CliRunner().invoke(app, ["feedback", *map(str, arguments)])


@pytest.fixture
def background(tmp_path):
    """A server on a thread of its own, for the command."""
    desk, ready, stop = Server(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve():
        async with listening(desk) as url:
            desk.url = url
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield desk
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


def test_the_command_posts_reports_and_says_so_in_its_exit_code(labels, background, tmp_path):
    (tmp_path / "token").write_text("secret-secret-secret\n")
    done = invoke(labels, "--server", background.url, "--credential-file", tmp_path / "token", "--quiet")

    assert done.exit_code == 0, done.output
    assert "accepted: 1000" in done.output
    assert {credential for _, credential in background.requests} == {"Bearer secret-secret-secret"}

    background.special = {"token-5": {"result": "bad_signature", "reason": "altered"}}
    (labels.parent / "labels.csv.feedback-journal").unlink()
    some = invoke(labels, "--server", background.url, "--model", "pets")
    assert some.exit_code == 1
    assert "1 of 1000 rows were not stored" in some.output
    assert "1,000 posted" in some.output


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--server", "pets:80"), 2, "write http:// or https://"),
        (("--server", "http://127.0.0.1:9"), 6, "cannot be reached"),
        (("--server", "http://127.0.0.1:9", "--model", "pets", "--patience", "0"), 6, "run the same command again"),
        (("--server", "http://h:1", "--model", "pets", "--credential-file", "/nowhere"), 2, "--credential-file"),
    ],
)
def test_what_keeps_the_command_from_working_has_its_own_code(labels, arguments, code, says):
    ended = invoke(labels, *arguments)

    assert ended.exit_code == code, ended.output
    assert says in ended.output


def test_a_file_that_is_not_there_is_a_mistake_of_usage(tmp_path):
    ended = invoke(tmp_path / "none.csv", "--server", "http://127.0.0.1:9", "--model", "pets")

    assert ended.exit_code == 2
    assert "No such file" in ended.output
