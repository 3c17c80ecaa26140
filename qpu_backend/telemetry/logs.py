"""Structured logs: one event a business fact, in the past tense; never a payload, never a key."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

LOGGER_NAME = "qpu_backend"


def configure_logs(level: str = "info", *, json: bool = True) -> None:
    """Send events at or above ``level`` to standard error, as JSON lines or for a person's eyes."""
    renderer = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def logger(stage: str) -> FilteringBoundLogger:
    """The logger of one stage of the pipeline."""
    return structlog.get_logger(LOGGER_NAME, stage=stage)
