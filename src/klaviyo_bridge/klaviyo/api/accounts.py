"""The account that the key belongs to."""

from __future__ import annotations

from klaviyo_bridge.errors import NotFound
from klaviyo_bridge.klaviyo.api.documents import page
from klaviyo_bridge.klaviyo.session import Session
from klaviyo_bridge.klaviyo.types import RemoteResource


class Accounts:
    """Whose key this is."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def current(self) -> RemoteResource:
        """The account; its id is the public key. At most 15 a minute."""
        found = page(self._session.call("get_accounts"), RemoteResource.parse).items
        if not found:
            raise NotFound("the key belongs to no account")
        return found[0]
