"""Lists and who is on them. Membership is not consent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from klaviyo_bridge.klaviyo.api.documents import accepted, every, page, page_query, resource
from klaviyo_bridge.klaviyo.lane import Priority
from klaviyo_bridge.klaviyo.packing import members_envelope, pack
from klaviyo_bridge.klaviyo.rows import encode, member_row
from klaviyo_bridge.klaviyo.session import Session
from klaviyo_bridge.klaviyo.types import Page, RemoteList, RemoteProfile


class Lists:
    """Lists of profiles."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def page(
        self,
        *,
        filter: str | None = None,  # noqa: A002  # Klaviyo's word
        sort: str | None = None,
        cursor: str | None = None,
    ) -> Page[RemoteList]:
        """Ten lists, which is Klaviyo's largest page."""
        query = page_query("get_lists", filter=filter, sort=sort, cursor=cursor)
        return page(self._session.call("get_lists", query=query), RemoteList.parse)

    def all(self) -> Iterator[RemoteList]:
        """Every list of the account."""
        return every(lambda cursor: self.page(cursor=cursor))

    def get(self, list_id: str, *, count: bool = False) -> RemoteList:
        """One list; with `count` at most 15 a minute."""
        query = [("additional-fields[list]", "profile_count")] if count else []
        return RemoteList.parse(resource(self._session.call("get_list", path={"id": list_id}, query=query)))

    def create(self, name: str, *, opt_in_process: str | None = None) -> RemoteList:
        """A new list. Names need not be unique: look before you create. At most 150 a day."""
        attributes = {"name": name} | ({"opt_in_process": opt_in_process} if opt_in_process else {})
        body = encode({"data": {"type": "list", "attributes": attributes}})
        return RemoteList.parse(accepted(self._session.call("create_list", body=body)))

    def rename(self, list_id: str, name: str) -> RemoteList:
        """Change the name of a list."""
        body = encode({"data": {"type": "list", "id": list_id, "attributes": {"name": name}}})
        return RemoteList.parse(accepted(self._session.call("update_list", path={"id": list_id}, body=body)))

    def delete(self, list_id: str) -> None:
        """Delete a list; its members stay."""
        self._session.call("delete_list", path={"id": list_id})

    def members(
        self,
        list_id: str,
        *,
        filter: str | None = None,  # noqa: A002  # Klaviyo's word
        sort: str | None = None,
        cursor: str | None = None,
        size: int = 100,
        priority: Priority = Priority.FULL_SYNC,
    ) -> Page[RemoteProfile]:
        """One page of members, with `joined_group_at`."""
        operation = "get_profiles_for_list"
        query = page_query(operation, filter=filter, sort=sort, cursor=cursor, size=size)
        reply = self._session.call(operation, path={"id": list_id}, query=query, priority=priority)
        return page(reply, RemoteProfile.parse)

    def add(self, list_id: str, profile_ids: Sequence[str], *, priority: Priority = Priority.UPSERT) -> None:
        """Add profiles, a thousand a call. Their consent stays as it is."""
        self._change("add_profiles_to_list", list_id, profile_ids, priority)

    def remove(self, list_id: str, profile_ids: Sequence[str], *, priority: Priority = Priority.UPSERT) -> None:
        """Remove profiles, a thousand a call. Their consent stays as it is."""
        self._change("remove_profiles_from_list", list_id, profile_ids, priority)

    def _change(self, operation: str, list_id: str, profile_ids: Sequence[str], priority: Priority) -> None:
        for packed in pack(map(member_row, profile_ids), members_envelope()):
            self._session.call(operation, path={"id": list_id}, body=packed.body, priority=priority)
