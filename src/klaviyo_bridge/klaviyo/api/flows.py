"""Flows: what Klaviyo does by itself after an event. Read, and switched on or off."""

from __future__ import annotations

from collections.abc import Iterator

from klaviyo_bridge.klaviyo.api.documents import accepted, every, page, page_query, resource
from klaviyo_bridge.klaviyo.rows import encode
from klaviyo_bridge.klaviyo.session import Session
from klaviyo_bridge.klaviyo.types import Page, RemoteResource


class Flows:
    """Automations of the account."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def page(
        self,
        *,
        filter: str | None = None,  # noqa: A002  # Klaviyo's word
        sort: str | None = None,
        cursor: str | None = None,
    ) -> Page[RemoteResource]:
        """Fifty flows."""
        query = page_query("get_flows", filter=filter, sort=sort, cursor=cursor)
        return page(self._session.call("get_flows", query=query), RemoteResource.parse)

    def all(self) -> Iterator[RemoteResource]:
        """Every flow of the account."""
        return every(lambda cursor: self.page(cursor=cursor))

    def get(self, flow_id: str) -> RemoteResource:
        """One flow. Raises NotFound."""
        return RemoteResource.parse(resource(self._session.call("get_flow", path={"id": flow_id})))

    def set_status(self, flow_id: str, status: str) -> RemoteResource:
        """`draft`, `manual` or `live`."""
        body = encode({"data": {"type": "flow", "id": flow_id, "attributes": {"status": status}}})
        return RemoteResource.parse(accepted(self._session.call("update_flow", path={"id": flow_id}, body=body)))
