"""The table that `localclouds status` prints. Pure: rows in, text out."""

from __future__ import annotations

import time
from typing import Any

_HEADER = ("CLOUD", "COMPONENT", "STATE", "PID", "AGE", "RESTARTS", "ADDRESS")


def components_table(rows: dict[str, list[dict[str, Any]]], now: float | None = None) -> str:
    """A line per component, columns aligned; `now` in unix seconds."""
    at = time.time() if now is None else now
    lines: list[tuple[str, ...]] = [_HEADER]
    for cloud, components in rows.items():
        lines += [(cloud, *_cells(row, at)) for row in components]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _cells(row: dict[str, Any], at: float) -> tuple[str, ...]:
    age = "-" if row["since"] is None else _age(at - row["since"])
    exit_code = f" (exit {row['last_exit']})" if row["last_exit"] is not None else ""
    restarts = f"{row['restarts']}{exit_code}"
    return (row["component"], row["phase"], str(row["pid"] or "-"), age, restarts, row["address"] or "-")


def _age(seconds: float) -> str:
    whole = int(max(0.0, seconds))
    if whole < 120:
        return f"{whole}s"
    return f"{whole // 60}m" if whole < 7200 else f"{whole // 3600}h"
