"""The collector: one process per model and cluster that stores labels, lets them mature, and counts each once.

`run_collector` is all that others call. Inside, messages (`service`) queue for one writer (`writer`) that commits to
SQLite (`ledger`, `schema`); scrapes read the last committed `snapshot` through `exposition`.
"""

from pilotage_server.feedback.collector.process import run_collector
from pilotage_server.feedback.collector.settings import CollectorSettings, SettingsRefused

__all__ = ["CollectorSettings", "SettingsRefused", "run_collector"]
