"""`/v1/webhooks`, `/v1/inbox` and `/v1/engagement`: what Klaviyo sends us, what became of it, what it adds up to."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from klaviyo_bridge.api.auth import Check
from klaviyo_bridge.api.schemas import answers
from klaviyo_bridge.bridge import Bridge


class NewWebhook(BaseModel):
    """A webhook to create at Klaviyo."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(examples=["https://bridge.example.com/webhooks/klaviyo"])
    topics: list[str] = Field(
        min_length=1, examples=[["profile.updated", "list.member.*", "event:klaviyo.opened_email"]]
    )
    name: str = "klaviyo-bridge"


class Replay(BaseModel):
    """Which ended events are handled once more."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["dead", "ignored", "handled"] = "dead"
    topic: str | None = Field(None, examples=["event:klaviyo.unsubscribed_from_email_marketing"])
    since: datetime | None = None


def subscription_routes(bridge: Bridge, authorized: Check) -> APIRouter:
    """The webhooks Klaviyo keeps. Answers 502 with the reason where the account lacks the paid tier."""
    router = APIRouter(
        prefix="/v1/webhooks", dependencies=[Depends(authorized)], tags=["webhooks"], responses=answers(401, 422, 503)
    )
    subscriptions = bridge.subscriptions

    @router.get("/topics")
    def topics(match: Annotated[str, Query(examples=["event:klaviyo.*"])] = "*") -> Response:
        """The account's topics."""
        return _json(subscriptions.topics(match))

    @router.get("")
    def webhooks() -> Response:
        """The account's webhooks; their URL is masked by Klaviyo."""
        return _json([asdict(found) for found in subscriptions.all()])

    @router.post("", status_code=201)
    def create(wanted: NewWebhook) -> Response:
        """Create a webhook, signed with the first configured secret. Deliveries begin within three minutes."""
        made = subscriptions.create(url=wanted.url, patterns=wanted.topics, name=wanted.name)
        return _json(asdict(made), status=201)

    @router.post("/{webhook_id}/rotate")
    def rotate(webhook_id: str) -> Response:
        """Have Klaviyo sign with the first configured secret; the old one has to be configured as well."""
        return _json(asdict(subscriptions.rotate(webhook_id)))

    @router.post("/{webhook_id}/{change}")
    def switch(webhook_id: str, change: Literal["enable", "disable"]) -> Response:
        """Have deliveries sent, or not."""
        return _json(asdict(subscriptions.enable(webhook_id, enabled=change == "enable")))

    @router.delete("/{webhook_id}", status_code=204)
    def delete(webhook_id: str) -> Response:
        """Delete a webhook."""
        subscriptions.delete(webhook_id)
        return Response(status_code=204)

    return router


def inbox_routes(bridge: Bridge, authorized: Check) -> APIRouter:
    """What came in, and what it adds up to."""
    router = APIRouter(
        prefix="/v1", dependencies=[Depends(authorized)], tags=["webhooks"], responses=answers(401, 422, 503)
    )

    @router.get("/inbox")
    def inbox(limit: Annotated[int, Query(ge=0, le=1000)] = 100) -> Response:
        """Events by topic and state, and the dead ones with their reason."""
        return _json({"counts": bridge.inbox.counts(), "dead": bridge.inbox.dead(limit=limit)})

    @router.post("/inbox/replay")
    def replay(wanted: Replay) -> Response:
        """Have ended events handled once more."""
        return _json({"replayed": bridge.inbox.replay(state=wanted.state, topic=wanted.topic, since=wanted.since)})

    @router.get("/engagement")
    def engagement(campaign: str | None = None) -> Response:
        """What became of messages, counted event by event: delivered, opened, clicked, bounced, unsubscribed."""
        return _json([asdict(tally) for tally in bridge.engagement.of_messages(campaign_id=campaign)])

    return router


def _json(document: Any, *, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, media_type="application/json")
