"""Foreign errors into ours: HTTP answers by their status, and exceptions of aiohttp, ssl, orjson and the
official client.

Nothing of those libraries passes this module; a test walks their error classes and proves it.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson
from kubernetes.aio.client.exceptions import OpenApiException

from pilotage.kube import errors
from pilotage.kube.errors import ApiError, Cause


class RedirectRefused(aiohttp.ClientError):
    """Raised below the pool when a server wants to send us elsewhere."""


def call_name(method: str, path: str) -> str:
    """Return how messages name a call: `GET /version`."""
    return f"{method} {path}"


@contextmanager
def translated(call: str) -> Iterator[None]:
    """Raise the errors of the block as ours, with the cause chained."""
    try:
        yield
    except errors.KubeError:
        raise
    except Exception as error:
        ours = error_of_exception(call, error)
        if ours is None:
            raise
        raise ours from error


def error_of_exception(call: str, error: Exception) -> ApiError | None:
    """Return our error for a foreign one; None for what is a mistake of this program."""
    match error:
        case RedirectRefused():
            return errors.Rejected(f"{error}; a credential is sent nowhere else", call=call, code=302)
        case aiohttp.ConnectionTimeoutError():
            return errors.Unreachable("no connection within the deadline", call=call)
        case TimeoutError():
            return errors.Timeout("no answer within the deadline", call=call)
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return errors.Untrusted(f"the TLS handshake failed: {error}", call=call)
        case aiohttp.ClientError() | OSError() | EOFError():
            return errors.Unreachable(str(error) or type(error).__name__, call=call)
        case orjson.JSONDecodeError():
            return errors.Unavailable("the answer is not JSON", call=call)
        case OpenApiException():
            return errors.Rejected(str(error), call=call)
        case _:
            return None


def error_of_answer(call: str, code: int, headers: Mapping[str, str], payload: bytes) -> ApiError:
    """Return the error that an answer of status 300 and above stands for."""
    return error_of_status(call, _status(code, payload), after_s=_retry_after(headers))


def error_of_status(call: str, status: Mapping[str, Any], *, after_s: float | None = None) -> ApiError:
    """Return the error for a `Status` object, as answers and ERROR events of watches carry it."""
    code = int(status.get("code") or 500)
    message = str(status.get("message") or f"HTTP {code}")
    details = status.get("details") or {}
    if after_s is None and details.get("retryAfterSeconds"):
        after_s = float(details["retryAfterSeconds"])
    match code, status.get("reason"):
        case 401, _:
            return errors.Unauthorized(message, call=call, code=code)
        case 403, _:
            return errors.Forbidden(message, call=call, code=code)
        case 404, _:
            return errors.NotFound(message, call=call, code=code)
        case 409, "AlreadyExists":
            return errors.AlreadyExists(message, call=call, code=code)
        case 409, _:
            return errors.Conflict(message, call=call, code=code)
        case 410, _:
            return errors.Gone(message, call=call, code=code)
        case ((400 | 422), _):
            return errors.Invalid(message, call=call, code=code, causes=_causes(details))
        case 429, _:
            return errors.Throttled(message, call=call, code=code, after_s=after_s)
        case 408, _:
            return errors.Timeout(message, call=call, code=code, after_s=after_s)
        case _ if code >= 500:
            return errors.Unavailable(message, call=call, code=code, after_s=after_s)
        case _:
            return errors.Rejected(message, call=call, code=code)


def _status(code: int, payload: bytes) -> Mapping[str, Any]:
    """Return the answer's Status, or one made up from the text that a proxy on the way has sent."""
    try:
        parsed = orjson.loads(payload)
    except orjson.JSONDecodeError:
        parsed = None
    if isinstance(parsed, dict) and parsed.get("kind") == "Status":
        return {**parsed, "code": code}
    text = payload[:200].decode("utf-8", "replace").strip()
    return {"code": code, "message": f"HTTP {code} {text}".rstrip()}


def _causes(details: Mapping[str, Any]) -> tuple[Cause, ...]:
    return tuple(
        Cause(
            field=str(cause.get("field") or ""),
            reason=str(cause.get("reason") or ""),
            message=str(cause.get("message") or ""),
        )
        for cause in details.get("causes") or ()
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return Retry-After in seconds; the date form counts from the answer's own Date."""
    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers["Date"])
    except (ValueError, KeyError, TypeError):
        return None
    return max(0.0, wait.total_seconds())
