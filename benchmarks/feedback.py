"""Feedback on this machine: µs to sign and open a token, and labels per second through a real collector process.

Labels carry probabilities, and the collector keeps every counter it has: losses, buckets, audits, late labels, delays.

Run: python benchmarks/feedback.py [--items 60000]. The collector is pinned to one core where the system allows it; the
client, which also opens every token, shares the machine with it, so the rate is a lower bound of the collector's.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import tempfile
import time
import timeit
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import orjson

from pilotage_server.feedback import (
    CollectorAddress,
    Feedback,
    FeedbackSettings,
    Identity,
    Issuer,
    KeyRing,
    TokenSigner,
    open_feedback,
    open_token,
)
from pilotage_server.feedback.probabilities import scores
from pilotage_server.feedback.token import Token
from pilotage_server.quality.reference import reference_bins
from pilotage_server.quality.rows import GateRows

CLASSES = tuple("0123456789")
ANSWERS = [np.random.default_rng(n).dirichlet(np.ones(10), size=1) for n in range(100)]
IDENTITY = Identity(model="digits", revision="digits-0a1b2c3d4e", cluster="aws", classes=CLASSES)


def token_times(ring: KeyRing) -> dict[str, float]:
    """µs of CPU for one row, best of five rounds."""
    signer = TokenSigner(ring, IDENTITY)
    p = np.full((1, 10), 0.1)
    bare, full = signer.sign([3], None, time.time()), signer.sign([3], p, time.time())
    issuer, rows, predicted = Issuer(signer, gate_rows()), np.zeros((1, 64)), np.array([3])
    opened = open_token(full, ring)
    assert isinstance(opened, Token)
    cases = {
        "sign": lambda: signer.sign([3], None, 1e9),
        "sign with probabilities": lambda: signer.sign([3], p, 1e9),
        "open": lambda: open_token(bare, ring),
        "issue: sign and count": lambda: issuer.issue(rows, predicted, p),
        "open with probabilities": lambda: open_token(full, ring),
        "loss, Brier and buckets": lambda: scores(opened.probabilities[0], 10, 3),
    }
    return {
        name: min(timeit.repeat(case, number=20_000, repeat=5, timer=time.process_time)) / 20_000 * 1e6
        for name, case in cases.items()
    }


def gate_rows() -> GateRows:
    """Counters of a pod with twenty features of ten bins."""
    names = tuple(f"f{n:02}" for n in range(64))
    rng = np.random.default_rng(1)
    reference = reference_bins(rng.normal(size=(2_000, 64)), names)
    return GateRows(model="digits", revision=IDENTITY.revision, classes=CLASSES, features=names, reference=reference)


@contextlib.asynccontextmanager
async def collector(folder: Path) -> AsyncIterator[tuple[int, int]]:
    """A collector process on free ports, pinned to the last core; its port and pid."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("pilotage-server")),
        *("collect", "--config", str(folder / "collector.json"), "--data", str(folder / "data")),
        *("--key-dir", str(folder / "keys"), "--port", "0", "--admin-port", "0"),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        with contextlib.suppress(AttributeError, OSError):
            os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
        assert process.stderr is not None
        async for line in process.stderr:
            if b"collector.started" in line:
                yield json.loads(line)["port"], process.pid
                break
    finally:
        process.kill()
        await process.communicate()


def cpu_s(pid: int) -> float:
    """CPU time a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def rate(feedback: Feedback, pid: int, items: int, per_request: int, at_once: int) -> str:
    """Post labels for fresh predictions and say how fast they became durable."""
    bodies = iter([request(feedback.signer, per_request) for _ in range(items // per_request)])
    results: Counter[str] = Counter()

    async def client() -> None:
        for body in bodies:
            status, _, answer = await feedback.endpoint.handle(body)
            if status == 200:
                results.update(result["result"] for result in orjson.loads(answer)["results"])
            else:
                results["503"] += per_request

    cpu, start = cpu_s(pid), time.perf_counter()
    await asyncio.gather(*[client() for _ in range(at_once)])
    took, used = time.perf_counter() - start, cpu_s(pid) - cpu
    done = results.total()
    return (
        f"{per_request:5} per request, {at_once:3} at once: {done / took:8,.0f} items/s, "
        f"{used / done * 1e6:5.1f} µs CPU of the collector per item ({dict(results)})"
    )


def request(signer: TokenSigner, count: int) -> bytes:
    """One request with labels for predictions made now."""
    items = [
        {
            "token": signer.sign([random.randrange(10)], random.choice(ANSWERS), time.time()),
            "row": 0,
            "label": random.choice(CLASSES),
        }
        for _ in range(count)
    ]
    return orjson.dumps({"feedback": items})


async def main(items: int, delay_s: float) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "keys").mkdir()
        (folder / "keys" / "k1").write_bytes(os.urandom(32))
        config = {"model": "digits", "namespace": "models", "cluster": "aws", "labelDelaySeconds": delay_s}
        config |= {"export": ["scores", "loss"], "auditRate": 0.1}
        (folder / "collector.json").write_text(json.dumps(config))
        ring = KeyRing(folder / "keys")
        for case, microseconds in token_times(ring).items():
            print(f"{case:>24}: {microseconds:5.1f} µs")
        async with collector(folder) as (port, pid):
            address = CollectorAddress(host="127.0.0.1", port=port)
            feedback = open_feedback(IDENTITY, ring, address, settings=FeedbackSettings(rate=0))
            running = asyncio.create_task(feedback.run())
            await feedback.registration.registered.wait()
            for per_request, at_once, share in ((500, 4, 1), (20, 16, 1), (1, 64, 5)):
                print(await rate(feedback, pid, items // share, per_request, at_once))
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
        size = sum(file.stat().st_size for file in (folder / "data").iterdir())
        print(f"volume: {size / (items * 2 + items // 5):.0f} bytes per label, write-ahead log included")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=60_000)
    parser.add_argument(
        "--delay", type=float, default=600, help="labelDelay in s; a short one counts while labels come"
    )
    arguments = parser.parse_args()
    asyncio.run(main(arguments.items, arguments.delay))
