"""Log lines: structlog events on stderr, one JSON object a line, or readable text on a terminal.

Configured once by the command line; everything else asks structlog for a logger.
"""

from __future__ import annotations

import sys

import structlog


def configure_logs(*, readable: bool) -> None:
    """Send every event at INFO or above to stderr."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if readable else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
