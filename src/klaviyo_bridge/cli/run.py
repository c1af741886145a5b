"""Long-running processes: the service, the worker, or both."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from datetime import timedelta

import structlog
import uvicorn

from klaviyo_bridge.api.app import create_app
from klaviyo_bridge.bridge import Bridge, open_bridge
from klaviyo_bridge.config import Settings, load_settings

GRACE = 8  # seconds that running requests get at the end

log = structlog.get_logger(__name__)


def run_service(*, host: str | None, port: int | None, working: bool) -> None:
    """Serve HTTP until told to stop; with `working`, deliver in the same process."""
    settings = load_settings()
    configure_logging(settings)
    with open_bridge(settings) as bridge, bridge.working() if working else nullcontext():
        log.info("serving", host=host or settings.host, port=settings.port if port is None else port)
        _serve(bridge, settings, host=host or settings.host, port=settings.port if port is None else port)


def run_worker() -> None:
    """Work until told to stop."""
    settings = load_settings()
    configure_logging(settings)
    with open_bridge(settings) as bridge, _stop_signal() as stopped, bridge.working():
        log.info("working")
        stopped.wait()


def _serve(bridge: Bridge, settings: Settings, *, host: str, port: int) -> None:
    app = create_app(
        bridge,
        api_keys=[key.get_secret_value() for key in settings.api_keys],
        webhook_secrets=[secret.get_secret_value() for secret in settings.klaviyo_webhook_signing_secret],
        webhook_tolerance=timedelta(seconds=settings.webhook_tolerance),
        flow_tokens=[token.get_secret_value() for token in settings.flow_webhook_tokens],
        klaviyo_account=settings.klaviyo_public_key,
    )
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    uvicorn.Server(config).run()


@contextmanager
def _stop_signal() -> Generator[threading.Event]:
    stopped = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    yield stopped


def configure_logging(settings: Settings) -> None:
    """Structured lines on standard error, from structlog and from the libraries alike."""
    renderer = structlog.processors.JSONRenderer() if settings.log_format == "json" else structlog.dev.ConsoleRenderer()
    level = logging.getLevelNamesMapping()[settings.log_level]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=max(level, logging.WARNING), format="%(levelname)s %(name)s %(message)s")
