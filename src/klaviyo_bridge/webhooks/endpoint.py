"""`POST /webhooks/klaviyo`: verified over the raw bytes, on disk before it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from klaviyo_bridge.domain.webhook import WebhookEvent
from klaviyo_bridge.webhooks.verify import verify

MAX_DELIVERY = 5_000_000  # bytes: a thousand events of ordinary size


def webhook_routes(
    receive: Callable[[Sequence[WebhookEvent]], int],
    read_body: Callable[[Request, int], Awaitable[bytes]],
    *,
    secrets: Sequence[str],
    tolerance: timedelta,
    clock: Callable[[], datetime],
) -> APIRouter:
    """The route Klaviyo calls. An error of the database is answered 503, so that Klaviyo sends it again."""
    router = APIRouter(prefix="/webhooks", tags=["webhooks"])

    @router.post("/klaviyo", include_in_schema=False)
    async def klaviyo(request: Request) -> Response:
        body = await read_body(request, MAX_DELIVERY)
        events = verify(body, request.headers, secrets=secrets, now=clock(), tolerance=tolerance)
        await asyncio.to_thread(receive, events)
        return Response(status_code=200)

    return router
