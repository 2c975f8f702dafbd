"""Why a port could not be opened: the option at fault, the value, what the system says, the remedy."""

from __future__ import annotations

import errno
import os
import socket

_OF_THE_HOST = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


def why_closed(error: OSError, host: str, port: int, *, option: str) -> str:
    """One sentence for the user; `option` names the port.

    A loop's own text repeats the address around what the system said.
    """
    if isinstance(error, socket.gaierror) or error.errno in _OF_THE_HOST:
        return f"--host: {host!r} is no address of this machine ({error.strerror}); 0.0.0.0 and :: are all of them"
    said = os.strerror(error.errno) if error.errno else str(error)
    return f"{option}: {host} port {port} cannot be opened ({said}); choose another"


def bracketed(host: str) -> str:
    """A host as it stands before a colon: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host
