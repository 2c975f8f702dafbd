"""Every target by name; each is made from the folder of a training run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from benchmarks.fuzz.bundles import layer, layout, manifest, onnx, signature
from benchmarks.fuzz.labels import feedback, messages, token
from benchmarks.fuzz.serving import http, infer, rpc, table
from benchmarks.fuzz.target import Target

TARGETS: Final[Mapping[str, Callable[[Path], Target]]] = {
    "infer": infer,
    "table": table,
    "rpc": rpc,
    "http": http,
    "feedback": feedback,
    "token": token,
    "manifest": manifest,
    "layout": layout,
    "layer": layer,
    "signature": signature,
    "onnx": onnx,
    "messages": messages,
}
