"""Klaviyo's operations by resource, over one session."""

from __future__ import annotations

from functools import cached_property

from klaviyo_bridge.klaviyo.api.accounts import Accounts
from klaviyo_bridge.klaviyo.api.campaigns import Campaigns
from klaviyo_bridge.klaviyo.api.data_privacy import DataPrivacy
from klaviyo_bridge.klaviyo.api.events import Events
from klaviyo_bridge.klaviyo.api.flows import Flows
from klaviyo_bridge.klaviyo.api.lists import Lists
from klaviyo_bridge.klaviyo.api.metrics import Metrics
from klaviyo_bridge.klaviyo.api.profiles import Profiles
from klaviyo_bridge.klaviyo.api.reporting import Reporting
from klaviyo_bridge.klaviyo.api.segments import Segments
from klaviyo_bridge.klaviyo.api.templates import Templates
from klaviyo_bridge.klaviyo.api.webhooks import Webhooks
from klaviyo_bridge.klaviyo.session import Session

__all__ = ["KlaviyoAPI"]


class KlaviyoAPI:
    """One account's Klaviyo. Each resource is built when it is first asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @cached_property
    def accounts(self) -> Accounts:
        return Accounts(self._session)

    @cached_property
    def campaigns(self) -> Campaigns:
        return Campaigns(self._session)

    @cached_property
    def data_privacy(self) -> DataPrivacy:
        return DataPrivacy(self._session)

    @cached_property
    def events(self) -> Events:
        return Events(self._session)

    @cached_property
    def flows(self) -> Flows:
        return Flows(self._session)

    @cached_property
    def lists(self) -> Lists:
        return Lists(self._session)

    @cached_property
    def metrics(self) -> Metrics:
        return Metrics(self._session)

    @cached_property
    def profiles(self) -> Profiles:
        return Profiles(self._session)

    @cached_property
    def reporting(self) -> Reporting:
        return Reporting(self._session)

    @cached_property
    def segments(self) -> Segments:
        return Segments(self._session)

    @cached_property
    def templates(self) -> Templates:
        return Templates(self._session)

    @cached_property
    def webhooks(self) -> Webhooks:
        return Webhooks(self._session)
