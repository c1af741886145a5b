"""Campaigns of the classic model (revision 2026-07-15): draft, message, template, send, cancel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from klaviyo_bridge.klaviyo import filters
from klaviyo_bridge.klaviyo.api.documents import accepted, every, page, page_query, resource
from klaviyo_bridge.klaviyo.rows import encode
from klaviyo_bridge.klaviyo.session import Session
from klaviyo_bridge.klaviyo.types import Page, RemoteCampaign, RemoteResource, attributes_of


class Campaigns:
    """Campaigns. A send is a state machine: read the status before each step."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def page(
        self,
        *,
        channel: str = "email",
        filter: str | None = None,  # noqa: A002  # Klaviyo's word
        sort: str | None = None,
        cursor: str | None = None,
    ) -> Page[RemoteCampaign]:
        """One page of a channel's campaigns: `email`, `sms` or `mobile_push`; Klaviyo wants one named."""
        of_channel = filters.equals("messages.channel", channel)
        query = page_query(
            "get_campaigns",
            filter=filters.all_of(of_channel, filter) if filter else of_channel,
            sort=sort,
            cursor=cursor,
        )
        return page(self._session.call("get_campaigns", query=query), RemoteCampaign.parse)

    def all(self, *, channel: str = "email", updated_since: datetime | None = None) -> Iterator[RemoteCampaign]:
        """Every campaign of a channel, or those changed since."""
        since = filters.greater_or_equal("updated_at", updated_since) if updated_since else None
        return every(lambda cursor: self.page(channel=channel, filter=since, cursor=cursor))

    def get(self, campaign_id: str) -> RemoteCampaign:
        """One campaign. Raises NotFound."""
        return RemoteCampaign.parse(resource(self._session.call("get_campaign", path={"id": campaign_id})))

    def create(self, attributes: Mapping[str, object]) -> RemoteCampaign:
        """A draft from Klaviyo's own attributes (name, audiences, send_strategy, campaign-messages, ...)."""
        body = encode({"data": {"type": "campaign", "attributes": attributes}})
        return RemoteCampaign.parse(accepted(self._session.call("create_campaign", body=body)))

    def update(self, campaign_id: str, attributes: Mapping[str, object]) -> RemoteCampaign:
        """Change a draft."""
        body = encode({"data": {"type": "campaign", "id": campaign_id, "attributes": attributes}})
        reply = self._session.call("update_campaign", path={"id": campaign_id}, body=body)
        return RemoteCampaign.parse(accepted(reply))

    def delete(self, campaign_id: str) -> None:
        """Delete a campaign."""
        self._session.call("delete_campaign", path={"id": campaign_id})

    def messages(self, campaign_id: str) -> list[RemoteResource]:
        """The messages of a campaign."""
        reply = self._session.call("get_messages_for_campaign", path={"id": campaign_id})
        return page(reply, RemoteResource.parse).items

    def update_message(self, message_id: str, attributes: Mapping[str, object]) -> RemoteResource:
        """Change a message's definition."""
        body = encode({"data": {"type": "campaign-message", "id": message_id, "attributes": attributes}})
        reply = self._session.call("update_campaign_message", path={"id": message_id}, body=body)
        return RemoteResource.parse(accepted(reply))

    def assign_template(self, message_id: str, template_id: str) -> RemoteResource:
        """Give a message a template. Klaviyo clones it: later changes of the original do nothing."""
        template = {"template": {"data": {"type": "template", "id": template_id}}}
        data = {"type": "campaign-message", "id": message_id, "relationships": template}
        reply = self._session.call("assign_template_to_campaign_message", body=encode({"data": data}))
        return RemoteResource.parse(accepted(reply))

    def send(self, campaign_id: str) -> str:
        """Send, or schedule if the strategy has a time; the status of the send job. Never repeat it blindly."""
        body = encode({"data": {"type": "campaign-send-job", "id": campaign_id}})
        return _status(RemoteResource.parse(accepted(self._session.call("send_campaign", body=body))))

    def send_job(self, campaign_id: str) -> str:
        """Status of the send job. `complete` means sent off, not delivered. Raises NotFound before a send."""
        reply = self._session.call("get_campaign_send_job", path={"id": campaign_id})
        return str(attributes_of(resource(reply)).get("status") or "unknown")

    def cancel(self, campaign_id: str, *, revert: bool = False) -> None:
        """Cancel a scheduled send, or revert it to a draft."""
        attributes = {"action": "revert" if revert else "cancel"}
        body = encode({"data": {"type": "campaign-send-job", "id": campaign_id, "attributes": attributes}})
        self._session.call("cancel_campaign_send", path={"id": campaign_id}, body=body)

    def clone(self, campaign_id: str, name: str) -> RemoteCampaign:
        """A draft like another campaign."""
        body = encode({"data": {"type": "campaign", "id": campaign_id, "attributes": {"new_name": name}}})
        return RemoteCampaign.parse(accepted(self._session.call("create_campaign_clone", body=body)))

    def estimate(self, campaign_id: str) -> None:
        """Ask for an estimate of the recipients; read it with `estimated_recipients`."""
        body = encode({"data": {"type": "campaign-recipient-estimation-job", "id": campaign_id}})
        self._session.call("refresh_campaign_recipient_estimation", body=body)

    def estimated_recipients(self, campaign_id: str) -> int | None:
        """The estimate, if there is one. Raises NotFound, on some accounts for ever: treat it as optional."""
        reply = self._session.call("get_campaign_recipient_estimation", path={"id": campaign_id})
        count = attributes_of(resource(reply)).get("estimated_recipient_count")
        return count if isinstance(count, int) else None


def _status(job: RemoteResource) -> str:
    return str(job.attributes.get("status") or "unknown")
