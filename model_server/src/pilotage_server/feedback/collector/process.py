"""The collector's process: start in order, stop in order.

Start: keys, config, ledger, first maturing, then the ports: the first scrape already shows what had matured.
Stop, on SIGTERM: not ready, no new messages, commit what is queued, keep the numbers up for one more scrape or 15 s,
exit 0. A second signal ends the waiting. Killed instead, it loses nothing that was answered.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector

from pilotage_server.feedback.collector.exposition import Exposition
from pilotage_server.feedback.collector.ledger import Ledger, LedgerFailed
from pilotage_server.feedback.collector.schema import DatabaseRefused
from pilotage_server.feedback.collector.service import Service
from pilotage_server.feedback.collector.settings import CollectorSettings, ConfigFile, Export, SettingsRefused
from pilotage_server.feedback.collector.writer import Writer
from pilotage_server.feedback.credentials import Credentials
from pilotage_server.feedback.keys import KeyRing, KeysRefused
from pilotage_server.feedback.registration import keep_secrets_fresh
from pilotage_server.feedback.settings import FeedbackRefused, FeedbackSettings
from pilotage_server.podroot import pod_path
from pilotage_server.ports import why_closed

LEDGER_FILE: Final = "ledger.sqlite3"
LAST_SCRAPE_S: Final = 15.0
_log = structlog.get_logger(__name__)


def run_collector(settings: CollectorSettings) -> int:
    """Run until SIGTERM or SIGINT; the exit code, 0. Raises `SettingsRefused` before anything is served."""
    try:
        ring = KeyRing(pod_path(settings.key_dir))
        config = ConfigFile(pod_path(settings.config))
        chosen = FeedbackSettings.from_env(os.environ)
        # Only relays need them here: our own pods prove themselves with the key, and counting must not wait for them.
        credentials = Credentials(chosen.credentials, chosen.credential_lines, may_be_closed=True)
        ledger = _open_ledger(pod_path(settings.data), config)
    except (KeysRefused, DatabaseRefused, FeedbackRefused) as error:
        raise SettingsRefused(str(error)) from error
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings, ring, credentials, config, ledger))
    return 0


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    if sys.platform != "linux":
        return None
    import uvloop

    return uvloop.Loop


def _open_ledger(data: Path, config: ConfigFile) -> Ledger:
    current = config.current
    now_ms, delay_ms = int(time.time() * 1000), current.label_delay_ms
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsRefused(f"--data {data}: {error.strerror}; mount a writable volume there") from error
    ledger = Ledger(data / LEDGER_FILE, now_ms=now_ms, delay_ms=delay_ms, window=current.window)
    # With a full disk the numbers can still be read; readiness and every answer to a pod tell about the rest.
    with contextlib.suppress(LedgerFailed):
        ledger.apply((), now_ms=now_ms, delay_ms=delay_ms, keeps_scores=current.shows(Export.SCORES))
    return ledger


async def _serve(
    settings: CollectorSettings, ring: KeyRing, credentials: Credentials, config: ConfigFile, ledger: Ledger
) -> None:
    writer = Writer(ledger, config)
    process = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=process)
    exposition = Exposition(lambda: config.current, lambda: writer.snapshot, process)
    service = Service(writer, ring, config, exposition, credentials=credentials)
    stop = _signals()
    async with contextlib.AsyncExitStack() as stack:
        writing = asyncio.create_task(writer.run(), name="writer")
        keys = asyncio.create_task(keep_secrets_fresh(ring, credentials), name="keys")
        stack.push_async_callback(_end, keys)
        admin_port = await _listen(stack, service.admin(), settings.host, settings.admin_port, "--admin-port")
        port = await _listen(stack, service.messages(), settings.host, settings.port, "--port")
        _log.info(
            "collector.started",
            model=config.current.model,
            ledger=ledger.snapshot.ledger,
            label_delay_s=config.current.label_delay_s,
            port=port,
            admin_port=admin_port,
        )
        await asyncio.wait({writing, asyncio.create_task(stop.get())}, return_when=asyncio.FIRST_COMPLETED)
        service.is_draining = True
        writer.drain()
        await writing
        _log.info("collector.drained")
        await _last_scrape(service, stop)


async def _last_scrape(service: Service, stop: "asyncio.Queue[None]") -> None:
    service.scraped.clear()
    waiting = {asyncio.create_task(service.scraped.wait()), asyncio.create_task(stop.get())}
    _, pending = await asyncio.wait(waiting, timeout=LAST_SCRAPE_S, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        await _end(task)


async def _listen(
    stack: contextlib.AsyncExitStack, application: web.Application, host: str, port: int, option: str
) -> int:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise SettingsRefused(why_closed(error, host, port, option=option)) from error
    bound: int = runner.addresses[0][1]
    return bound


def _signals() -> "asyncio.Queue[None]":
    signals: asyncio.Queue[None] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, None)
    return signals


async def _end(task: "asyncio.Task[object]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
