"""The HTTP service as it is shipped: uvicorn on a free port of loopback."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

import uvicorn
from fastapi import FastAPI

from builders import API_KEY, FLOW_TOKEN, WEBHOOK_SECRET
from klaviyo_bridge.api.app import create_app
from klaviyo_bridge.bridge import Bridge
from waiting import until


@contextmanager
def serving(app: FastAPI) -> Generator[str]:
    """The URL the app is served on, until the block ends."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, http="httptools", log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def app_of(bridge: Bridge) -> FastAPI:
    """The service over `bridge`, with the keys of `builders`."""
    return create_app(
        bridge,
        api_keys=[API_KEY],
        webhook_secrets=[WEBHOOK_SECRET],
        webhook_tolerance=timedelta(seconds=300),
        flow_tokens=[FLOW_TOKEN],
    )
