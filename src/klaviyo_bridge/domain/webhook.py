"""One event of Klaviyo's, as a webhook delivers it or as polling finds it. There is no person in it, only an id.

Klaviyo's topics are `event:<integration>.<metric>`. `CANONICAL` gives them the names an application thinks in;
`docs/reference/webhook-names.md` shows the same table, and a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

NATIVE: Final = "event:klaviyo."
FLOW: Final = "flow:"
POLLED: Final = "poll:"
UNREADABLE: Final = "unreadable"

_OPTED_OUT = (
    "unsubscribed_from_email_marketing",
    "unsubscribed_from_sms_marketing",
    "unsubscribed_from_text_messaging_marketing",
    "unsubscribed_from_text_messaging_transactional",
)
_OPTED_IN = (
    "subscribed_to_email_marketing",
    "subscribed_to_sms_marketing",
    "subscribed_to_text_messaging_marketing",
)
_SUPPRESSED = ("manually_suppressed_from_email_marketing", "bounced_email", "marked_email_as_spam")

CANONICAL: Final[Mapping[str, Sequence[str]]] = {
    "profile.subscribed": _OPTED_IN,
    "profile.unsubscribed": _OPTED_OUT,
    "profile.suppressed": _SUPPRESSED,
    "profile.unsuppressed": ("manually_unsuppressed_from_email_marketing",),
    "profile.merged": ("merged_profile",),
    "profile.updated": (
        *_OPTED_IN,
        *_OPTED_OUT,
        *_SUPPRESSED,
        "manually_unsuppressed_from_email_marketing",
        "merged_profile",
        "updated_email_preferences",
    ),
    "list.member.added": ("subscribed_to_list",),
    "list.member.removed": ("unsubscribed_from_list",),
    "campaign.sent": (),
    "campaign.delivered": ("received_email", "received_sms", "received_text_message", "received_push"),
    "campaign.opened": ("opened_email", "opened_text", "opened_push"),
    "campaign.clicked": ("clicked_email", "clicked_sms", "clicked_text_message"),
    "campaign.bounced": ("bounced_email", "bounced_push", "failed_to_deliver_sms", "failed_to_deliver_text_message"),
    "campaign.unsubscribed": _OPTED_OUT,
    "campaign.marked_as_spam": ("marked_email_as_spam",),
}
"""Name -> the metrics behind `event:klaviyo.` and `flow:` that mean it. Campaign names want a message too."""

POLLED_NAMES: Final = ("profile.updated", "campaign.sent")
"""Names for which Klaviyo sends no webhook at all: they come from polling, with the topic `poll:<name>`."""

_NAMES: Final[Mapping[str, Sequence[str]]] = {
    slug: tuple(name for name, slugs in CANONICAL.items() if slug in slugs)
    for slug in dict.fromkeys(slug for slugs in CANONICAL.values() for slug in slugs)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """`external_id` is Klaviyo's event id and names the event once; `topic` is `event:<integration>.<metric>`."""

    external_id: str
    topic: str
    payload: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """The topic, and every name of ours it goes by."""
        if self.topic.startswith(POLLED):
            return (self.topic, self.topic.removeprefix(POLLED))
        known = _NAMES.get(slug_of(self.topic) or "", ())
        of_campaign = self.message_id is not None and self.flow_id is None
        return (self.topic, *(name for name in known if of_campaign or not name.startswith("campaign.")))

    @property
    def profile_id(self) -> str | None:
        """Klaviyo's id of the person."""
        return self._related("profile")

    @property
    def metric_id(self) -> str | None:
        return self._related("metric")

    @property
    def message_id(self) -> str | None:
        """The message it is about: one email or text of a campaign or a flow."""
        return _text(self.properties.get("$message"))

    @property
    def campaign_id(self) -> str | None:
        return _text(self.properties.get("$campaign"))

    @property
    def flow_id(self) -> str | None:
        return _text(self.properties.get("$flow"))

    @property
    def time(self) -> datetime | None:
        """When it happened, by Klaviyo's clock."""
        attributes = _object(self._data.get("attributes"))
        return _moment(attributes.get("datetime")) or _moment(attributes.get("timestamp"))

    @property
    def properties(self) -> Mapping[str, Any]:
        return _object(_object(self._data.get("attributes")).get("event_properties"))

    @property
    def _data(self) -> Mapping[str, Any]:
        return _object(self.payload.get("data"))

    def _related(self, name: str) -> str | None:
        return _text(_object(_object(_object(self._data.get("relationships")).get(name)).get("data")).get("id"))


def event_payload(
    event_id: str,
    *,
    profile_id: str | None = None,
    metric_id: str | None = None,
    time: datetime | None = None,
    properties: Mapping[str, Any],
) -> dict[str, Any]:
    """A payload as Klaviyo signs it, for events that reach us on another way."""
    related = {"profile": profile_id, "metric": metric_id}
    return {
        "data": {
            "type": "event",
            "id": event_id,
            "attributes": {"datetime": time.isoformat() if time else None, "event_properties": dict(properties)},
            "relationships": {name: {"data": {"type": name, "id": id_}} for name, id_ in related.items() if id_},
        }
    }


def slug_of(topic: str) -> str | None:
    """The metric of one of Klaviyo's own topics, such as `opened_email`; None for everybody else's."""
    for prefix in (NATIVE, FLOW):
        if topic.startswith(prefix):
            return topic.removeprefix(prefix)
    return None


def topics_named(name: str) -> tuple[str, ...]:
    """Klaviyo's topics that mean one of our names."""
    return tuple(NATIVE + slug for slug in CANONICAL[name])


def _moment(value: object) -> datetime | None:
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        moment = datetime.fromisoformat(cast(str, value))
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _object(value: object) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}
