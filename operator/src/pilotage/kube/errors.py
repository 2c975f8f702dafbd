"""What can go wrong with a cluster, one type for each thing a caller does next.

    KubeError
    ├── EndpointRefused         this kubeconfig is not used: tell its owner the reasons
    ├── LeadershipLost          stop writing and end the process
    └── ApiError                a call failed
        ├── Transient           nothing is wrong with the call: try again, not before `after_s`
        │   ├── Throttled       429: the server asks for a pause
        │   ├── Unavailable     5xx, or an answer that is no answer
        │   └── Unreachable     no answer: refused, reset, unresolved
        │       ├── Untrusted   a TLS handshake that failed: wrong CA or wrong host
        │       └── Timeout     no answer in time; the effect is unknown
        └── Rejected            the same call will fail again: decide anew
            ├── Unauthorized    401: the credential is not (or no longer) known
            ├── Forbidden       403: a right is missing
            ├── NotFound        404: no such object, or no such kind
            ├── Conflict        409: somebody was faster; read again, then decide
            ├── AlreadyExists   409: create met an object of that name
            ├── Gone            410: that resourceVersion is compacted; list again
            ├── Invalid         400, 422: the object itself is refused, with causes
            └── Oversized       the answer is larger than the caller takes: ask for less

Every error of aiohttp, ssl, orjson and the official client is translated before it leaves this package.
"""

from dataclasses import dataclass


class KubeError(Exception):
    """Root of this package's errors."""


class EndpointRefused(KubeError):
    """A kubeconfig (or a pod's service account) that is unsafe or incomplete. Carries every reason, never a
    secret.
    """

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class LeadershipLost(KubeError):
    """The lease is another's, or ran out before it could be renewed."""


class ApiError(KubeError):
    """A call that did not succeed. `call` is the verb and the path; `code` the HTTP status, 0 without an
    answer.
    """

    def __init__(self, message: str, *, call: str = "", code: int = 0) -> None:
        super().__init__(f"{call}: {message}" if call else message)
        self.message = message
        self.call = call
        self.code = code


class Transient(ApiError):
    """Worth another try, unchanged. `after_s` is the server's wish in seconds, or None."""

    def __init__(self, message: str, *, call: str = "", code: int = 0, after_s: float | None = None) -> None:
        super().__init__(message, call=call, code=code)
        self.after_s = after_s


class Throttled(Transient):
    """429: the server asks for a pause of `after_s`."""


class Unavailable(Transient):
    """5xx, or bytes that are not the promised JSON."""


class Unreachable(Transient):
    """No answer at all: the name, the port or the connection failed."""


class Untrusted(Unreachable):
    """The TLS handshake failed: the certificate is not signed by the given CA, or not for this host."""


class Timeout(Unreachable):
    """No answer within the deadline. The effect is unknown: read before deciding anew."""


class Rejected(ApiError):
    """The server understood and declined; the same call will fail again."""


class Unauthorized(Rejected):
    """401: the credential is unknown or has expired."""


class Forbidden(Rejected):
    """403: the credential lacks a right."""


class NotFound(Rejected):
    """404: no object of this name, or a server without this kind."""


class Conflict(Rejected):
    """409: the object changed meanwhile, or a precondition (resourceVersion, uid) no longer holds."""


class AlreadyExists(Rejected):
    """409 on create: the name is taken."""


class Gone(Rejected):
    """410: the resourceVersion or page is no longer kept; list again."""


class Oversized(Rejected):
    """The answer is larger than the caller takes; it was cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One complaint of the server about one field."""

    field: str
    reason: str
    message: str


class Invalid(Rejected):
    """400 or 422: the object is refused. `causes` names the fields, as far as the server did."""

    def __init__(self, message: str, *, call: str = "", code: int = 422, causes: tuple[Cause, ...] = ()) -> None:
        super().__init__(message, call=call, code=code)
        self.causes = causes
