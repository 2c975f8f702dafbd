"""Good and bad requests on many pipelined connections: answered in order, untouched by neighbours, nothing kept.

The short form of `python -m benchmarks.soak`.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.soak import soak
from support.serving import Keys, running_server

HALF = 2_500


async def test_answers_are_their_requests_own_and_leave_no_memory_behind(
    iris: Path, keys: Keys, feedback_keys: Path
) -> None:
    trust = ("--bundle-key-dir", str(keys.public_dir), "--feedback-key-dir", str(feedback_keys))
    with running_server(iris / "oci", *trust, env={"PILOTAGE_CLUSTER": "aws"}) as server:
        first = await soak(server.port, server.process.pid, model="iris", requests=HALF)
        second = await soak(server.port, server.process.pid, model="iris", requests=HALF, seed=2)

        assert first.answered == second.answered == HALF
        assert second.late - first.late < 8 * 2**20
