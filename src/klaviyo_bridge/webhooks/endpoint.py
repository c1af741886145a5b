"""`POST /webhooks/klaviyo` and `POST /webhooks/flow`: checked over the raw bytes, on disk before they are answered.

Anything that is not a delivery we may take is answered 4xx; an error of the database 503, so that Klaviyo sends
again. Who keeps sending what we refuse is turned away for a while before his body is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from klaviyo_bridge.domain.webhook import WebhookEvent
from klaviyo_bridge.errors import BridgeError, InvalidPayload, InvalidWebhook, Unavailable
from klaviyo_bridge.webhooks.flow import flow_event
from klaviyo_bridge.webhooks.senders import Senders
from klaviyo_bridge.webhooks.verify import verify

MAX_DELIVERY: Final = 5_000_000  # bytes: a thousand events of ordinary size
MAX_FLOW_CALL: Final = 500_000
READ_SECONDS: Final = 10.0  # in which a body has to arrive
QUICK: Final = 65_536  # bytes that are verified without a thread of their own

Submit = Callable[[Sequence[WebhookEvent]], Future[None]]
ReadBody = Callable[[Request, int], Awaitable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """Whose deliveries are taken: secrets of signed ones, tokens of flows, how old, and of which account."""

    secrets: Sequence[str]
    flow_tokens: Sequence[str] = ()
    tolerance: timedelta = timedelta(minutes=5)
    account_id: str | None = None
    read_seconds: float = READ_SECONDS
    senders: Senders = field(default_factory=Senders)


def webhook_routes(
    submit: Submit, read_body: ReadBody, acceptance: Acceptance, *, clock: Callable[[], datetime]
) -> APIRouter:
    """The routes Klaviyo calls. `submit` puts events on disk; its future is done when they are."""
    router = APIRouter(prefix="/webhooks", tags=["webhooks"])

    def signed(request: Request, body: bytes) -> list[WebhookEvent]:
        return verify(
            body,
            request.headers,
            secrets=acceptance.secrets,
            now=clock(),
            tolerance=acceptance.tolerance,
            account_id=acceptance.account_id,
        )

    def from_flow(request: Request, body: bytes) -> list[WebhookEvent]:
        return [flow_event(body, request.headers, tokens=acceptance.flow_tokens)]

    @router.post("/klaviyo", include_in_schema=False)
    async def klaviyo(request: Request) -> Response:
        return await _take(request, signed, most=MAX_DELIVERY)

    @router.post("/flow", include_in_schema=False)
    async def flow(request: Request) -> Response:
        return await _take(request, from_flow, most=MAX_FLOW_CALL)

    async def _take(request: Request, check: Callable[[Request, bytes], list[WebhookEvent]], *, most: int) -> Response:
        sender = request.client.host if request.client else ""
        wait = acceptance.senders.wait(sender)
        if wait > 0:
            return Response(status_code=429, headers={"Retry-After": str(int(wait) + 1), "Connection": "close"})
        try:
            _check_content_type(request)
            body = await _read(request, most)
            events = await _checked(request, body, check)
        except BridgeError as error:
            acceptance.senders.refused(sender)
            return _refusal(error)
        await asyncio.wrap_future(submit(events))
        return Response(status_code=200)

    async def _read(request: Request, most: int) -> bytes:
        try:
            async with asyncio.timeout(acceptance.read_seconds):
                return await read_body(request, most)
        except TimeoutError:
            raise TooSlow(f"the body did not arrive within {acceptance.read_seconds:.0f} seconds") from None
        except ClientDisconnect:
            raise InvalidWebhook("the connection closed before the body was there") from None

    async def _checked(
        request: Request, body: bytes, check: Callable[[Request, bytes], list[WebhookEvent]]
    ) -> list[WebhookEvent]:
        if len(body) <= QUICK:
            return check(request, body)
        return await asyncio.to_thread(check, request, body)

    return router


class TooSlow(InvalidWebhook):
    """The body took too long to arrive."""


class NotJson(InvalidWebhook):
    """The content type is not JSON."""


def _check_content_type(request: Request) -> None:
    kind, _, rest = request.headers.get("content-type", "").partition(";")
    charset = rest.strip().lower().replace('"', "")
    if kind.strip().lower() != "application/json" or charset not in {"", "charset=utf-8"}:
        raise NotJson("Content-Type has to be application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise NotJson("Content-Encoding is not taken")


def _refusal(error: BridgeError) -> Response:
    """A short answer: who sends us rubbish learns no more than that it was not taken."""
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 400)
    headers = {} if status == 401 else {"Connection": "close"}  # the body may still be coming
    return Response(str(error), status, headers, media_type="text/plain")


_STATUS: Final = (
    (TooSlow, 408),
    (NotJson, 415),
    (InvalidWebhook, 401),
    (InvalidPayload, 413),
    (Unavailable, 503),
)
