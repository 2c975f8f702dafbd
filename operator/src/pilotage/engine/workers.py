"""Take keys from the queue and reconcile them, for ever; what goes wrong with one key is that key's back-off.

Workers start once the process leads and everything it decides on is in the caches. Expected errors are a delay,
unexpected ones a delay and one log line; losing the lease ends the process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog

from pilotage.engine.queue import WorkQueue
from pilotage.engine.reconciler import Reconciler
from pilotage.hub.revisions import RevisionTaken
from pilotage.kube import ApiError, Conflict, Key, LeadershipLost, Transient

CONFLICT_S = 0.2
"""Time for the watch to bring what we did not know."""

log = structlog.get_logger(__name__)


class Count(Protocol):
    """Counts reconciles by result."""

    def __call__(self, result: str, seconds: float) -> None: ...  # noqa: D102


async def work(queue: WorkQueue[Key], reconciler: Reconciler, *, count: Count, monotonic: Callable[[], float]) -> None:
    """One worker. Owns: the key in its hands. Ends: when cancelled. Retried: all but LeadershipLost, which is fatal."""
    while True:
        key = await queue.get()
        started = monotonic()
        result = "error"
        try:
            after_s = await reconciler.reconcile(key)
            result = "success"
            queue.succeed(key)
            if after_s is not None:
                queue.add_after(key, max(after_s, 0.01))
        except LeadershipLost:
            raise
        except Conflict as error:
            result = "conflict"
            log.debug("reconcile.conflict", key=str(key), error=str(error))
            queue.add_after(key, CONFLICT_S)
        except Transient as error:
            delay_s = queue.retry(key, at_least_s=error.after_s or 0.0)
            log.info("reconcile.retry", key=str(key), error=str(error), delay_s=round(delay_s, 1))
        except (ApiError, RevisionTaken) as error:
            delay_s = queue.retry(key)
            log.warning("reconcile.refused", key=str(key), error=str(error), delay_s=round(delay_s, 1))
        except Exception as error:  # one of three places: a bug met by one key must not stop the others
            delay_s = queue.retry(key)
            log.exception("reconcile.failed", key=str(key), error=repr(error), delay_s=round(delay_s, 1))
        finally:
            queue.done(key)
            count(result, monotonic() - started)
