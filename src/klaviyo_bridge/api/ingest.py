"""`POST /v1/profiles` and `POST /v1/events`: checked, put on disk, answered 202."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from klaviyo_bridge.api.auth import Check
from klaviyo_bridge.api.bodies import read_items
from klaviyo_bridge.api.schemas import EVENT, PROFILE, answers, body_of
from klaviyo_bridge.bridge import Bridge

_TAKEN: dict[str, Any] = {
    "description": "On disk; delivered once in effect",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["accepted"],
                "properties": {"accepted": {"type": "integer"}},
            }
        }
    },
}


def ingest_routes(bridge: Bridge, authorized: Check) -> APIRouter:
    """The routes the application calls."""
    router = APIRouter(prefix="/v1", dependencies=[Depends(authorized)], tags=["ingest"])
    refusals = {202: _TAKEN, **answers(401, 413, 422, 503)}

    @router.post("/profiles", status_code=202, responses=refusals, openapi_extra=body_of(PROFILE))
    async def push_profiles(request: Request) -> Response:
        """Have Klaviyo know these profiles: created or updated, field by field. All are taken, or none."""
        items, many = await read_items(request, name="profiles")
        changes = bridge.profiles.check(items, many=many)
        await asyncio.wrap_future(bridge.profile_ingest.submit(changes))
        return _accepted(len(items))

    @router.post("/events", status_code=202, responses=refusals, openapi_extra=body_of(EVENT))
    async def track_events(request: Request) -> Response:
        """Have Klaviyo know these events, each once. All are taken, or none."""
        items, many = await read_items(request, name="events")
        events = bridge.events.check(items, many=many)
        await asyncio.wrap_future(bridge.event_ingest.submit(events))
        return _accepted(len(items))

    return router


def _accepted(count: int) -> Response:
    return Response(orjson.dumps({"accepted": count}), 202, media_type="application/json")
