"""Segments and who is in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from klaviyo_bridge.klaviyo.api.documents import accepted, every, page, page_query, resource
from klaviyo_bridge.klaviyo.lane import Priority
from klaviyo_bridge.klaviyo.rows import encode
from klaviyo_bridge.klaviyo.session import Session
from klaviyo_bridge.klaviyo.types import Page, RemoteProfile, RemoteSegment


class Segments:
    """Segments of profiles; Klaviyo computes their members, with minutes of delay."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def page(
        self,
        *,
        filter: str | None = None,  # noqa: A002  # Klaviyo's word
        sort: str | None = None,
        cursor: str | None = None,
    ) -> Page[RemoteSegment]:
        """Ten segments, which is Klaviyo's largest page."""
        query = page_query("get_segments", filter=filter, sort=sort, cursor=cursor)
        return page(self._session.call("get_segments", query=query), RemoteSegment.parse)

    def all(self) -> Iterator[RemoteSegment]:
        """Every segment of the account."""
        return every(lambda cursor: self.page(cursor=cursor))

    def get(self, segment_id: str, *, count: bool = False) -> RemoteSegment:
        """One segment; with `count` at most 15 a minute."""
        query = [("additional-fields[segment]", "profile_count")] if count else []
        reply = self._session.call("get_segment", path={"id": segment_id}, query=query)
        return RemoteSegment.parse(resource(reply))

    def members(
        self,
        segment_id: str,
        *,
        filter: str | None = None,  # noqa: A002  # Klaviyo's word
        sort: str | None = None,
        cursor: str | None = None,
        size: int = 100,
        priority: Priority = Priority.FULL_SYNC,
    ) -> Page[RemoteProfile]:
        """One page of members, with `joined_group_at`."""
        operation = "get_profiles_for_segment"
        query = page_query(operation, filter=filter, sort=sort, cursor=cursor, size=size)
        reply = self._session.call(operation, path={"id": segment_id}, query=query, priority=priority)
        return page(reply, RemoteProfile.parse)

    def create(self, name: str, definition: Mapping[str, object], *, is_starred: bool = False) -> RemoteSegment:
        """A new segment. At most 15 a minute and 100 a day."""
        attributes = {"name": name, "definition": definition, "is_starred": is_starred}
        body = encode({"data": {"type": "segment", "attributes": attributes}})
        return RemoteSegment.parse(accepted(self._session.call("create_segment", body=body)))

    def update(self, segment_id: str, attributes: Mapping[str, object]) -> RemoteSegment:
        """Change name, definition or star. A new definition is computed anew."""
        body = encode({"data": {"type": "segment", "id": segment_id, "attributes": attributes}})
        reply = self._session.call("update_segment", path={"id": segment_id}, body=body)
        return RemoteSegment.parse(accepted(reply))

    def delete(self, segment_id: str) -> None:
        """Delete a segment; its members stay."""
        self._session.call("delete_segment", path={"id": segment_id})
