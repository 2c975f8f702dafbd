"""The gRPC port: the Open Inference Protocol and `grpc.health.v1` over the same data plane as REST.

For clients that speak nothing else: Python's gRPC costs several times what our REST does for the same prediction.
A client's fault is INVALID_ARGUMENT, overload UNAVAILABLE, its own deadline DEADLINE_EXCEEDED; UNKNOWN is only ever
a bug of ours. Every call is counted under the HTTP status its REST twin would have got.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import grpc
import structlog

from pilotage_server import __version__
from pilotage_server.feedback import Asked
from pilotage_server.ports import bracketed
from pilotage_server.serve.errors import Rejected
from pilotage_server.serve.infer import Signature
from pilotage_server.serve.inference import Inference
from pilotage_server.serve.lifecycle import Lifecycle
from pilotage_server.serve.metadata import EXTENSIONS
from pilotage_server.serve.metrics import ServerMetrics, Spoken
from pilotage_server.serve.model import ServedModel
from pilotage_server.serve.rpc.codec import read_request, write_answer, write_metadata
from pilotage_server.serve.rpc.messages import (
    HEALTH_SERVICE,
    NOT_SERVING,
    SERVICE,
    SERVICE_UNKNOWN,
    SERVING,
    message,
)
from pilotage_server.serve.settings import Limits

_log = structlog.get_logger(__name__)
_CODES: Final[Mapping[int, Any]] = {
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    503: grpc.StatusCode.UNAVAILABLE,
}
Handler = Callable[[Any, Any], Awaitable[Any]]


class RpcServer:
    """One gRPC listener. Owns the server object; ends with `stop`."""

    def __init__(
        self,
        model: ServedModel,
        inference: Inference,
        metrics: ServerMetrics,
        lifecycle: Lifecycle,
        limits: Limits,
    ) -> None:
        self._model, self._inference, self._metrics = model, inference, metrics
        self._lifecycle, self._signature = lifecycle, Signature.of(model, limits)
        self._server = grpc.aio.server(
            options=(("grpc.max_receive_message_length", limits.body_bytes), ("grpc.so_reuseport", 0))
        )
        methods: dict[str, Handler] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._infer,
        }
        handlers = {name: _handler(name, method) for name, method in methods.items()}
        checks = {"Check": _handler("HealthCheck", self._check_health)}
        services = ((SERVICE, handlers), (HEALTH_SERVICE, checks))
        self._server.add_generic_rpc_handlers(tuple(grpc.method_handlers_generic_handler(*one) for one in services))

    async def start(self, host: str, port: int) -> int:
        """Listen; gives the port. Raises OSError where the address cannot be had."""
        try:
            bound = int(self._server.add_insecure_port(f"{bracketed(host)}:{port}"))
        except RuntimeError as error:  # all that gRPC tells
            raise OSError(errno.EADDRINUSE, str(error)) from error
        await self._server.start()
        return bound

    async def stop(self, grace_s: float) -> None:
        """Stop accepting, and finish open calls within `grace_s`."""
        await self._server.stop(grace_s)

    async def _check_health(self, request: Any, _: Any) -> Any:
        if request.service not in ("", SERVICE, self._model.name):
            return message("HealthCheckResponse")(status=SERVICE_UNKNOWN)
        return message("HealthCheckResponse")(status=SERVING if self._lifecycle.is_ready else NOT_SERVING)

    async def _live(self, _: Any, __: Any) -> Any:
        return message("ServerLiveResponse")(live=True)

    async def _ready(self, _: Any, __: Any) -> Any:
        return message("ServerReadyResponse")(ready=self._lifecycle.is_ready)

    async def _model_ready(self, request: Any, context: Any) -> Any:
        await self._check_name(request.name, request.version, context)
        return message("ModelReadyResponse")(ready=self._lifecycle.is_ready)

    async def _server_metadata(self, _: Any, __: Any) -> Any:
        return message("ServerMetadataResponse")(name="pilotage-server", version=__version__, extensions=EXTENSIONS)

    async def _model_metadata(self, request: Any, context: Any) -> Any:
        await self._check_name(request.name, request.version, context)
        return write_metadata(self._model)

    async def _infer(self, request: Any, context: Any) -> Any:
        await self._check_name(request.model_name, request.model_version, context)
        started, status = time.perf_counter(), 500
        try:
            checked = read_request(request, self._signature)
            answered = await self._inference.run(
                checked.rows, context.time_remaining(), Asked(checked.id, checked.parameters)
            )
            response = write_answer(self._model, checked, answered)
            status = 200
        except Rejected as rejected:
            status = rejected.status
            self._metrics.observe_rejected(rejected.reason)
            await context.abort(_CODES.get(status, grpc.StatusCode.INVALID_ARGUMENT), str(rejected))
        finally:
            self._metrics.observe_request(Spoken.GRPC, status, time.perf_counter() - started)
        return response

    async def _check_name(self, name: str, version: str, context: Any) -> None:
        model = self._model
        if name != model.name:
            text = f"model {name[:64]!r} is not served here; this is {model.name!r}"
            await context.abort(grpc.StatusCode.NOT_FOUND, text)
        if version and version != model.revision:
            text = f"version {version[:64]!r} of {name!r} is not served here; this is {model.revision!r}"
            await context.abort(grpc.StatusCode.NOT_FOUND, text)


def _handler(name: str, method: Handler) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        method,
        request_deserializer=message(f"{name}Request").FromString,
        response_serializer=message(f"{name}Response").SerializeToString,
    )
