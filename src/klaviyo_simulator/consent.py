"""Consent and suppression of one profile, and how `subscriptions` shows them.

Who may change them is in `consenting`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from klaviyo_simulator.errors import JsonObject
from klaviyo_simulator.times import iso, iso_or_none

SUBSCRIBED = "SUBSCRIBED"
UNSUBSCRIBED = "UNSUBSCRIBED"
NEVER_SUBSCRIBED = "NEVER_SUBSCRIBED"

EMAIL = "email"
SMS = "sms"
PUSH = "push"
CHANNELS = (
    EMAIL,
    "open_tracking",
    SMS,
    "sms_transactional",
    "whatsapp_marketing",
    "whatsapp_transactional",
    "whatsapp_conversational",
    PUSH,
)
LIFTED_BY_SUBSCRIBING = frozenset({"UNSUBSCRIBE", "SPAM_COMPLAINT", "USER_SUPPRESSED"})


@dataclass(slots=True)
class ChannelConsent:
    consent: str = NEVER_SUBSCRIBED
    timestamp: float | None = None
    updated: float | None = None
    method: str | None = None
    method_detail: str | None = None
    custom_method_detail: str | None = None
    double_optin: bool | None = None


@dataclass(slots=True)
class Suppression:
    reason: str
    timestamp: float
    list_id: str | None = None


@dataclass(slots=True)
class Consent:
    """Nothing here means never subscribed and not suppressed."""

    channels: dict[str, ChannelConsent] = field(default_factory=dict[str, ChannelConsent])
    suppressions: list[Suppression] = field(default_factory=list[Suppression])
    list_suppressions: list[Suppression] = field(default_factory=list[Suppression])
    pending: dict[str, float] = field(default_factory=dict[str, float])

    def of(self, channel: str) -> str:
        state = self.channels.get(channel)
        return state.consent if state else NEVER_SUBSCRIBED

    def channel(self, name: str) -> ChannelConsent:
        return self.channels.setdefault(name, ChannelConsent())

    def can_receive_email(self) -> bool:
        return not self.suppressions and self.of(EMAIL) != UNSUBSCRIBED

    def suppress(self, reason: str, timestamp: float) -> bool:
        """True when it was not suppressed for this reason before."""
        if any(item.reason == reason for item in self.suppressions):
            return False
        self.suppressions.append(Suppression(reason, timestamp))
        return True

    def lift(self, reasons: frozenset[str]) -> bool:
        kept = [item for item in self.suppressions if item.reason not in reasons]
        changed = len(kept) < len(self.suppressions)
        self.suppressions = kept
        return changed


NONE = Consent()


def subscriptions_document(consent: Consent | None, *, has_email: bool, has_phone: bool) -> JsonObject:
    """The `subscriptions` attribute."""
    state = consent or NONE
    return {
        "email": _email(state, reachable=has_email),
        "sms": {
            "marketing": _plain(state, SMS, "can_receive_sms_marketing", reachable=has_phone),
            "transactional": _plain(state, "sms_transactional", "can_receive_sms_transactional", reachable=has_phone),
        },
        "mobile_push": {
            "marketing": {
                "can_receive_push_marketing": state.of(PUSH) == SUBSCRIBED,
                "consent": state.of(PUSH),
                "consent_timestamp": iso_or_none(_state(state, PUSH).timestamp),
            }
        },
        "whatsapp": _whatsapp(state),
    }


def _state(consent: Consent, channel: str) -> ChannelConsent:
    return consent.channels.get(channel) or ChannelConsent()


def _email(consent: Consent, *, reachable: bool) -> JsonObject:
    state = _state(consent, EMAIL)
    return {
        "marketing": {
            "can_receive_email_marketing": reachable and consent.can_receive_email(),
            "consent": state.consent,
            "consent_timestamp": iso_or_none(state.timestamp),
            "last_updated": iso_or_none(state.updated),
            "method": state.method,
            "method_detail": state.method_detail,
            "custom_method_detail": state.custom_method_detail,
            "double_optin": state.double_optin,
            "suppression": [{"reason": item.reason, "timestamp": iso(item.timestamp)} for item in consent.suppressions],
            "list_suppressions": [
                {"list_id": item.list_id, "reason": item.reason, "timestamp": iso(item.timestamp)}
                for item in consent.list_suppressions
            ],
        },
        "open_tracking": _tracking(_state(consent, "open_tracking")),
        "click_tracking": _tracking(_state(consent, "click_tracking")),
    }


def _tracking(state: ChannelConsent) -> JsonObject:
    return {
        "consent": state.consent,
        "consent_timestamp": iso_or_none(state.timestamp),
        "last_updated": iso_or_none(state.updated),
        "created_timestamp": iso_or_none(state.timestamp),
        "metadata": {},
        "can_receive": state.consent != UNSUBSCRIBED,
        "valid_until": None,
    }


def _plain(consent: Consent, channel: str, flag: str, *, reachable: bool) -> JsonObject:
    state = _state(consent, channel)
    return {
        flag: reachable and state.consent == SUBSCRIBED,
        "consent": state.consent,
        "consent_timestamp": iso_or_none(state.timestamp),
        "method": state.method,
        "method_detail": state.method_detail,
        "last_updated": iso_or_none(state.updated),
    }


def _whatsapp(consent: Consent) -> JsonObject | None:
    kinds = ("marketing", "transactional", "conversational")
    if not any(f"whatsapp_{kind}" in consent.channels for kind in kinds):
        return None
    return {kind: _tracking(_state(consent, f"whatsapp_{kind}")) | {"phone_number": None} for kind in kinds}
