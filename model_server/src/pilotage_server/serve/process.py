"""The server's life, in order: load and prove the bundle, listen, serve, drain, leave.

Nothing listens before the golden rows have passed. On SIGTERM: not ready at once; for `drain_s` every answer
says connection: close; then no more connections, open requests finish, feedback under way gets its answers;
the metrics stay for one more scrape; exit 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

import structlog
from prometheus_client import disable_created_metrics

from pilotage_server.bundle import AnySigner, Bundle, load, open_source, read_trusted_keys
from pilotage_server.bundle.decision import LeastCost
from pilotage_server.feedback import (
    CollectorAddress,
    Feedback,
    FeedbackRefused,
    FeedbackSettings,
    Identity,
    IdentityRefused,
    KeyRing,
    open_feedback,
)
from pilotage_server.ports import why_closed
from pilotage_server.quality.drift import Drift
from pilotage_server.quality.rows import GateRows
from pilotage_server.serve.admin import AdminApp
from pilotage_server.serve.app import DataApp
from pilotage_server.serve.explain import Explainer
from pilotage_server.serve.footprint import settle
from pilotage_server.serve.inference import Inference
from pilotage_server.serve.lifecycle import Lifecycle, Phase
from pilotage_server.serve.listener import Listener
from pilotage_server.serve.metrics import ServerMetrics, check_series
from pilotage_server.serve.model import ServedModel, name_model
from pilotage_server.serve.settings import Connections, ServeSettings, SettingsRefused

if TYPE_CHECKING:
    from pilotage_server.serve.payloads import PayloadLog
    from pilotage_server.serve.rpc import RpcServer

_log = structlog.get_logger(__name__)


def run_server(settings: ServeSettings) -> int:
    """Serve until SIGTERM or SIGINT; gives the exit code, 0.

    Raises before anything listens: `bundle.Refused`, `feedback.KeysRefused`, `SettingsRefused`.
    """
    model = name_model(_load(settings), settings.pod)
    ring = KeyRing(settings.feedback_key_dir) if settings.feedback_key_dir else None
    settle()
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, which nobody here reads
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings, model, ring))
    return 0


def _load(settings: ServeSettings) -> Bundle:
    trust = read_trusted_keys(settings.bundle_key_dir) if settings.bundle_key_dir else AnySigner()
    bundle = load(open_source(settings.bundle), trust=trust, threads=settings.threads)
    if not bundle.signer:
        _log.warning("bundle.unverified", reason="--allow-unsigned: nobody vouches for this bundle")
    return bundle


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    if sys.platform != "linux":
        return None
    import uvloop

    return uvloop.Loop


async def _serve(settings: ServeSettings, model: ServedModel, ring: KeyRing | None) -> None:
    lifecycle = Lifecycle()
    lifecycle.listen_to_signals()
    metrics = ServerMetrics(model, lambda: inference.waiting_rows)
    gate_rows = _gate_rows(model)
    feedback = _open_feedback(settings, model, ring, gate_rows)
    if feedback is not None:
        drift = Drift(
            model=model.name, revision=model.revision, reference=gate_rows.bins, counts=gate_rows.feature_counts
        )
        metrics.registry.register(drift)
    for counters in feedback.metrics if feedback else ():
        metrics.registry.register(counters)
    payloads = _open_payloads(settings, model, metrics) if feedback else None
    inference = Inference(
        model.predict,
        metrics.observe_predictions,
        settings.limits,
        issuer=feedback.issuer if feedback else None,
        payloads=payloads,
    )
    check_series(metrics.registry, settings.limits.series)
    app = DataApp(
        model,
        inference,
        metrics,
        lifecycle,
        limits=settings.limits,
        feedback=feedback,
        explainer=Explainer(model) if settings.explain else None,
    )
    data = Listener(app, settings.connections, direct=app.direct)
    # Probes and scrapes come from few clients, to this pod by intent: no need to recycle them.
    admin = Listener(AdminApp(metrics.registry, lifecycle), Connections(requests=10**9, age_s=10**9))
    admin_port = await _listen(admin, settings.host, settings.admin_port, "--admin-port")
    port = await _listen(data, settings.host, settings.port, "--port")
    rpc = _open_rpc(settings, model, inference, metrics, lifecycle)
    grpc_port = await _listen(rpc, settings.host, settings.grpc_port or 0, "--grpc-port") if rpc else None
    background = asyncio.create_task(feedback.run(), name="feedback") if feedback else None
    lifecycle.phase = Phase.READY
    metrics.ready.set(1)
    _log.info(
        "server.ready",
        model=model.name,
        revision=model.revision,
        backend=str(model.bundle.manifest.backend),
        signer=model.bundle.signer,
        host=settings.host,
        port=port,
        admin_port=admin_port,
        grpc_port=grpc_port,
    )
    await _until_asked(lifecycle, background)
    await _drain(settings, lifecycle, metrics, data, rpc)
    if background is not None:
        background.cancel()  # last of all: feedback under way got its answers through it
        with contextlib.suppress(asyncio.CancelledError):
            await background
    inference.close()
    if payloads is not None:
        await asyncio.to_thread(payloads.close, settings.shutdown.finish_s)
    await _leave(settings, lifecycle, admin)


async def _until_asked(lifecycle: Lifecycle, background: asyncio.Task[None] | None) -> None:
    """Wait for a signal. Fatal: the end of the background task, which ends only by a bug of ours."""
    asked = asyncio.create_task(lifecycle.asked_to_end.wait())
    tasks: set[asyncio.Task[object]] = {asked} if background is None else {asked, background}
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    if background in done:
        background.result()


async def _drain(
    settings: ServeSettings, lifecycle: Lifecycle, metrics: ServerMetrics, data: Listener, rpc: RpcServer | None
) -> None:
    lifecycle.phase = Phase.DRAINING
    metrics.ready.set(0)
    _log.info("server.draining", drain_s=settings.shutdown.drain_s)
    await lifecycle.pause(settings.shutdown.drain_s)
    if rpc is not None:
        await rpc.stop(settings.shutdown.finish_s)
    cut_off = await data.stop(settings.shutdown.finish_s)
    if cut_off:
        _log.warning("server.cut_off", connections=cut_off, after_s=settings.shutdown.finish_s)
    _log.info("server.drained")


async def _leave(settings: ServeSettings, lifecycle: Lifecycle, admin: Listener) -> None:
    lifecycle.phase = Phase.DRAINED
    was_scraped = await lifecycle.last_scrape(settings.shutdown.last_scrape_s)
    await admin.stop(1.0)
    _log.info("server.ended", scraped=was_scraped)


async def _listen(listener: Listener | RpcServer, host: str, port: int, flag: str) -> int:
    try:
        return await listener.start(host, port)
    except OSError as error:
        raise SettingsRefused(why_closed(error, host, port, option=flag)) from error


def _open_rpc(
    settings: ServeSettings, model: ServedModel, inference: Inference, metrics: ServerMetrics, lifecycle: Lifecycle
) -> RpcServer | None:
    """Make the gRPC listener where a port is asked for; importing it costs what REST alone need not pay."""
    if settings.grpc_port is None:
        return None
    try:
        from pilotage_server.serve.rpc import RpcServer
    except ImportError as error:
        text = "--grpc-port: gRPC is not installed; install pilotage-server[grpc], or leave the port out"
        raise SettingsRefused(text) from error
    return RpcServer(model, inference, metrics, lifecycle, settings.limits)


def _open_payloads(settings: ServeSettings, model: ServedModel, metrics: ServerMetrics) -> PayloadLog | None:
    if settings.payloads is None:
        return None
    from pilotage_server.serve.payloads import PayloadLog, open_sink

    sink = open_sink(settings.payloads, settings.pod.name)
    _log.info("payload.on", to=settings.payloads.target, share=settings.payloads.share)
    names = {"model": model.name, "revision": model.revision}
    return PayloadLog(sink, model.bundle.manifest.features, settings.payloads, metrics.registry, names)


def _gate_rows(model: ServedModel) -> GateRows:
    manifest = model.bundle.manifest
    return GateRows(
        model=model.name,
        revision=model.revision,
        classes=manifest.classes,
        features=tuple(feature.name for feature in manifest.features),
        reference=manifest.reference,
    )


def _open_feedback(
    settings: ServeSettings, model: ServedModel, ring: KeyRing | None, gate_rows: GateRows
) -> Feedback | None:
    """Wire feedback up, or say clearly why answers will carry no token."""
    pod = settings.pod
    if ring is None:
        _log.warning("feedback.disabled", reason="no --feedback-key-dir: answers carry no token, labels cannot count")
        return None
    manifest = model.bundle.manifest
    try:
        identity = Identity(
            model=model.name,
            revision=model.revision,
            cluster=pod.cluster,
            classes=manifest.classes,
            slices=manifest.slices,
            costs=manifest.decision.costs if isinstance(manifest.decision, LeastCost) else (),
        )
    except IdentityRefused as refused:
        _log.error("feedback.disabled", reason=f"{refused}: answers carry no token, labels cannot count")
        return None
    collector = CollectorAddress.from_env(pod.collector_service or f"{model.name}-collector", os.environ)
    try:
        chosen = FeedbackSettings.from_env(os.environ)
        texts = [feature.categories for feature in manifest.features]
        return open_feedback(identity, ring, collector, settings=chosen, gate_rows=gate_rows, categories=texts)
    except FeedbackRefused as refused:
        raise SettingsRefused(str(refused)) from refused
