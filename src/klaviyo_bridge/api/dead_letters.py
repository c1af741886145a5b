"""`/v1/dead-letters`: list, inspect, export, replay, discard. Personal data is masked unless asked for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Depends
from starlette.requests import Request
from starlette.responses import StreamingResponse

from klaviyo_bridge.api.schemas import answers
from klaviyo_bridge.bridge import Bridge
from klaviyo_bridge.domain.dead_letter import Wanted
from klaviyo_bridge.domain.outbox import Kind
from klaviyo_bridge.services.dead_letters import described

Ids = Annotated[list[int], Body(embed=True, max_length=10_000, examples=[[17, 18]])]


def dead_letter_routes(bridge: Bridge, authorized: Callable[[Request], None]) -> APIRouter:
    """The routes an operator calls."""
    router = APIRouter(
        prefix="/v1/dead-letters", dependencies=[Depends(authorized)], tags=["dead letters"], responses=answers(401)
    )
    letters = bridge.dead_letters

    @router.get("")
    def page(
        reason: str | None = None,
        kind: Kind | None = None,
        since: datetime | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> dict[str, Any]:
        """By id; `next` is the `after` of the next page, null on the last one."""
        found = letters.page(Wanted(reason=reason, kind=kind, since=since), after=after, limit=limit)
        return {"data": [described(letter) for letter in found], "next": found[-1].id if found else None}

    @router.get("/export")
    def export(reason: str | None = None, kind: Kind | None = None, reveal: bool = False) -> StreamingResponse:  # noqa: FBT001
        """All of them, a JSON document a line."""
        lines = (
            orjson.dumps(described(letter, reveal=reveal)) + b"\n"
            for letter in letters.every(Wanted(reason=reason, kind=kind))
        )
        return StreamingResponse(lines, media_type="application/x-ndjson")

    @router.get("/{letter_id}")
    def show(letter_id: int, reveal: bool = False) -> dict[str, Any]:  # noqa: FBT001
        """One of them."""
        return described(letters.get(letter_id), reveal=reveal)

    @router.post("/replay")
    def replay(ids: Ids) -> dict[str, int]:
        """Deliver these again. Harmless to repeat; a field that a newer row wrote stays newer."""
        done = letters.replay(ids)
        return {"waiting": done.waiting, "superseded": done.superseded}

    @router.post("/discard")
    def discard(ids: Ids) -> dict[str, int]:
        """End these for good."""
        return {"discarded": letters.discard(ids)}

    return router
