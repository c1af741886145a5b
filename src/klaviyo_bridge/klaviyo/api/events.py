"""Events: single and bulk writes, pages."""

from __future__ import annotations

from klaviyo_bridge.klaviyo.api.documents import page, page_query
from klaviyo_bridge.klaviyo.lane import Priority
from klaviyo_bridge.klaviyo.session import Session
from klaviyo_bridge.klaviyo.types import Page, RemoteEvent


class Events:
    """What people did."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def create(self, body: bytes, *, priority: Priority = Priority.LIVE) -> None:
        """Hand in one event (`rows.event_body`). 202 says it is queued; a repeated unique_id is dropped."""
        self._session.call("create_event", body=body, priority=priority)

    def bulk_create(self, body: bytes, *, priority: Priority = Priority.LIVE) -> None:
        """Hand in packed events (`packing.events_envelope`). There is no job and no later verdict."""
        self._session.call("bulk_create_events", body=body, priority=priority)

    def page(
        self,
        *,
        filter: str | None = None,  # noqa: A002  # Klaviyo's word
        sort: str = "datetime",
        cursor: str | None = None,
        size: int = 200,
        priority: Priority = Priority.FULL_SYNC,
    ) -> Page[RemoteEvent]:
        """One page. Events arrive up to hours late and may be dated in the future: overlap your reads."""
        query = page_query("get_events", filter=filter, sort=sort, cursor=cursor, size=size)
        return page(self._session.call("get_events", query=query, priority=priority), RemoteEvent.parse)
