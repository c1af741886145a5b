"""Erasure: the one way to delete a profile."""

from __future__ import annotations

from klaviyo_bridge.errors import InvalidPayload, Problem
from klaviyo_bridge.klaviyo.lane import Priority
from klaviyo_bridge.klaviyo.rows import encode
from klaviyo_bridge.klaviyo.session import Session


class DataPrivacy:
    """Requests of people to be forgotten."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def erase(
        self, *, email: str | None = None, phone_number: str | None = None, profile_id: str | None = None
    ) -> None:
        """Ask Klaviyo to delete one profile, by exactly one identifier. There is no job to ask afterwards."""
        named = {"email": email, "phone_number": phone_number, "id": profile_id}
        given = {name: value for name, value in named.items() if value}
        if len(given) != 1:
            raise InvalidPayload(problems=[Problem("profile", "needs exactly one identifier")])
        identity = {"id": profile_id} if profile_id else {"attributes": given}
        profile = {"profile": {"data": {"type": "profile", **identity}}}
        data = {"type": "data-privacy-deletion-job", "attributes": profile}
        body = encode({"data": data})
        self._session.call("request_profile_deletion", body=body, priority=Priority.ERASURE)
