"""`/v1/lists` and `/v1/segments`: asked of Klaviyo, remembered for a while."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from klaviyo_bridge.api.auth import Check
from klaviyo_bridge.api.bodies import read_items
from klaviyo_bridge.api.schemas import PROFILE, answers, body_of
from klaviyo_bridge.bridge import Bridge

_ERRORS = answers(401, 404, 422, 502, 503)
_CHANGE = answers(401, 404, 413, 422, 502, 503)


def list_routes(bridge: Bridge, authorized: Check) -> APIRouter:
    """The routes about lists."""
    router = APIRouter(prefix="/v1/lists", dependencies=[Depends(authorized)], tags=["lists"])

    @router.get("", responses=_ERRORS)
    def all_lists(name: str | None = None) -> list[dict[str, Any]]:
        """Every list, or the one with this name."""
        found = bridge.lists.all() if name is None else [bridge.lists.find(name)]
        return [asdict(each) for each in found]

    @router.get("/{list_id}", responses=_ERRORS)
    def one_list(list_id: str, count: bool = False) -> dict[str, Any]:  # noqa: FBT001  # a query parameter
        """One list; `count` also counts its members (15 a minute)."""
        return asdict(bridge.lists.get(list_id, count=count))

    @router.post("/{list_id}/members", responses=_CHANGE, openapi_extra=body_of(PROFILE))
    async def add_members(list_id: str, request: Request) -> dict[str, Any]:
        """Put people on the list; their consent stays as it is. `unknown` are those without a profile."""
        people, _ = await read_items(request, name="people")
        return asdict(await run_in_threadpool(bridge.lists.add, list_id, people))

    @router.post("/{list_id}/members/remove", responses=_CHANGE, openapi_extra=body_of(PROFILE))
    async def remove_members(list_id: str, request: Request) -> dict[str, Any]:
        """Take people off the list; their consent stays as it is."""
        people, _ = await read_items(request, name="people")
        return asdict(await run_in_threadpool(bridge.lists.remove, list_id, people))

    return router


def segment_routes(bridge: Bridge, authorized: Check) -> APIRouter:
    """The routes about segments."""
    router = APIRouter(prefix="/v1/segments", dependencies=[Depends(authorized)], tags=["segments"])

    @router.get("", responses=_ERRORS)
    def all_segments(name: str | None = None) -> list[dict[str, Any]]:
        """Every segment, or the one with this name."""
        found = bridge.segments.all() if name is None else [bridge.segments.find(name)]
        return [asdict(each) for each in found]

    @router.get("/{segment_id}/members", responses=_ERRORS)
    def members(segment_id: str, cursor: Annotated[str | None, Query(max_length=2_000)] = None) -> dict[str, Any]:
        """A hundred members, and the cursor of the next page."""
        page = bridge.segments.page(segment_id, cursor=cursor)
        profiles = [{"id": profile.id, **profile.attributes} for profile in page.profiles]
        return {"members": profiles, "next_cursor": page.next_cursor}

    return router
