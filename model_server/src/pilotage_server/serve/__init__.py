"""Serving: one signed bundle behind the Open Inference Protocol V2, with feedback tokens and a drain that
loses nothing.

`settings` reads flags and environment once; `process.run_server` is the composition root: load → listen →
drain. In between, `tensors` turns bodies into rows (`plain` the usual ones), `batcher` predicts what has queued
together, `inference` adds tokens, `answers` writes bodies, `app` and `admin` only move bytes. `protocol` is where
connections live, `direct` the short way of whole infer requests past `app`, `lifecycle` where the process stands.
"""

from __future__ import annotations

from pilotage_server.serve.process import run_server
from pilotage_server.serve.settings import ServeSettings, SettingsRefused, read_settings

__all__ = ["ServeSettings", "SettingsRefused", "read_settings", "run_server"]
