"""How commands reach a supervisor: one JSON line each way over a Unix socket in the abstract namespace.

Abstract, because a path in a deep state directory would be longer than the 107 bytes such a path may have; its name is
derived from the directory, it needs no cleaning, and the kernel tells who calls: only the same user is answered.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
from pathlib import Path
from typing import Any, Final

from localclouds import errors
from localclouds.errors import CloudsError, NotRunning

_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid


def address(state: Path) -> str:
    """The socket's name for a state directory."""
    digest = hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:24]
    return f"\0localclouds-{os.getuid()}-{digest}"


def ask(state: Path, request: dict[str, Any], within_s: float = 300.0) -> Any:
    """Send one request to the supervisor of `state` and return the result of its answer.

    Raises what the supervisor raised, or NotRunning when none listens or it goes away meanwhile.
    """
    gone = f"no clouds are running in {state}; start them with `localclouds up --state {state}`"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(within_s)
        try:
            channel.connect(address(state))
            channel.sendall(json.dumps(request).encode() + b"\n")
            answer = channel.makefile("rb").readline()
        except TimeoutError as error:
            what = " ".join(str(value) for value in request.values())
            raise CloudsError(f"the supervisor of {state} did not finish within {within_s:.0f} s: {what}") from error
        except OSError as error:
            raise NotRunning(gone) from error
    if not answer:
        raise NotRunning(gone)
    return unpack(json.loads(answer))


def result(value: Any) -> dict[str, Any]:
    """The answer to a request that succeeded."""
    return {"result": value}


def failure(error: CloudsError) -> dict[str, Any]:
    """The answer to a request that did not."""
    return {"error": str(error), "kind": type(error).__name__}


def unpack(answer: dict[str, Any]) -> Any:
    """The result in an answer; raises the error in it, as the type it had on the other side."""
    if "error" in answer:
        kind = getattr(errors, answer["kind"], CloudsError)
        raise kind(answer["error"])
    return answer["result"]


def is_our_user(channel: socket.socket) -> bool:
    """Whether the peer of a Unix socket runs as our user (or as root)."""
    raw = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(raw)[1] in (0, os.getuid())
