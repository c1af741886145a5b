"""The HTTP service over one bridge."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus

import structlog
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from klaviyo_bridge.api import errors
from klaviyo_bridge.api.auth import require_key
from klaviyo_bridge.api.bodies import read_body
from klaviyo_bridge.api.consent import consent_routes
from klaviyo_bridge.api.dead_letters import dead_letter_routes
from klaviyo_bridge.api.health import health_routes
from klaviyo_bridge.api.ingest import ingest_routes
from klaviyo_bridge.api.lists import list_routes, segment_routes
from klaviyo_bridge.api.metrics import metrics_routes
from klaviyo_bridge.api.webhooks import inbox_routes, subscription_routes
from klaviyo_bridge.bridge import Bridge, now
from klaviyo_bridge.errors import BridgeError
from klaviyo_bridge.webhooks.endpoint import Acceptance, webhook_routes

log = structlog.get_logger(__name__)


def create_app(
    bridge: Bridge,
    *,
    api_keys: Sequence[str],
    webhook_secrets: Sequence[str],
    webhook_tolerance: timedelta,
    flow_tokens: Sequence[str] = (),
    klaviyo_account: str | None = None,
) -> FastAPI:
    """The application; `bridge` stays the caller's to open and close."""
    app = FastAPI(
        title="klaviyo-bridge",
        description="Reports sign-ups and purchases to Klaviyo. 202 means: on disk, and delivered once in effect.",
        version="0.1.0",
        redoc_url=None,
    )
    app.add_exception_handler(BridgeError, errors.answer)
    app.add_exception_handler(Exception, _unexpected)
    app.include_router(ingest_routes(bridge, require_key(api_keys)))
    for routes in (consent_routes, list_routes, segment_routes):
        app.include_router(routes(bridge, require_key(api_keys)))
    app.include_router(dead_letter_routes(bridge, require_key(api_keys)))
    app.include_router(health_routes(bridge))
    app.include_router(metrics_routes(bridge))
    app.include_router(subscription_routes(bridge, require_key(api_keys)))
    app.include_router(inbox_routes(bridge, require_key(api_keys)))
    app.include_router(
        webhook_routes(
            bridge.inbox_ingest.submit,
            lambda request, most: read_body(request, most=most),
            Acceptance(
                secrets=webhook_secrets,
                flow_tokens=flow_tokens,
                tolerance=webhook_tolerance,
                account_id=klaviyo_account,
            ),
            clock=now,
        )
    )
    return app


async def _unexpected(_request: Request, error: Exception) -> Response:
    """Whatever is not ours: the database, most likely. Nothing was taken, so "again later" is the truth."""
    log.error("request failed", error=type(error).__name__)
    status = HTTPStatus.SERVICE_UNAVAILABLE
    body: dict[str, object] = {
        "type": "urn:klaviyo-bridge:Unavailable",
        "title": status.phrase,
        "status": status.value,
        "detail": "the service cannot take this now; nothing was taken",
        "problems": [],
    }
    return errors.problem(status, body, retry_after=5.0)
