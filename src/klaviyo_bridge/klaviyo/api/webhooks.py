"""Webhooks: where Klaviyo tells us of events. Closed to ordinary private keys (NotAuthorized)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from klaviyo_bridge.klaviyo.api.documents import accepted, page, resource
from klaviyo_bridge.klaviyo.rows import encode
from klaviyo_bridge.klaviyo.session import Session
from klaviyo_bridge.klaviyo.types import RemoteResource


class Webhooks:
    """At most ten an account. Needs Advanced KDP or an OAuth app: without, poll."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def all(self) -> list[RemoteResource]:
        """Every webhook. Their URL is masked and their secret never told: compare by your own record."""
        return page(self._session.call("get_webhooks"), RemoteResource.parse).items

    def get(self, webhook_id: str) -> RemoteResource:
        """One webhook. Raises NotFound."""
        return RemoteResource.parse(resource(self._session.call("get_webhook", path={"id": webhook_id})))

    def topics(self) -> list[str]:
        """The topics of this account, such as `event:klaviyo.subscribed_to_list`."""
        found = page(self._session.call("get_webhook_topics"), RemoteResource.parse).items
        return [topic.id for topic in found]

    def create(
        self, name: str, *, endpoint_url: str, secret_key: str, topics: Sequence[str], description: str | None = None
    ) -> RemoteResource:
        """A new webhook; deliveries begin up to three minutes later. The URL must be https."""
        attributes = {"name": name, "endpoint_url": endpoint_url, "secret_key": secret_key}
        if description is not None:
            attributes["description"] = description
        data = {"type": "webhook", "attributes": attributes, "relationships": _topics(topics)}
        return RemoteResource.parse(accepted(self._session.call("create_webhook", body=encode({"data": data}))))

    def update(
        self, webhook_id: str, attributes: Mapping[str, object], *, topics: Sequence[str] | None = None
    ) -> RemoteResource:
        """Change name, endpoint_url, secret_key, enabled or topics."""
        data: dict[str, object] = {"type": "webhook", "id": webhook_id, "attributes": attributes}
        if topics is not None:
            data["relationships"] = _topics(topics)
        reply = self._session.call("update_webhook", path={"id": webhook_id}, body=encode({"data": data}))
        return RemoteResource.parse(accepted(reply))

    def delete(self, webhook_id: str) -> None:
        """Delete a webhook."""
        self._session.call("delete_webhook", path={"id": webhook_id})


def _topics(topics: Sequence[str]) -> dict[str, object]:
    return {"webhook-topics": {"data": [{"type": "webhook-topic", "id": topic} for topic in topics]}}
