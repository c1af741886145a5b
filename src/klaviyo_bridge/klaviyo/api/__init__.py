"""Klaviyo's operations by resource, over one session."""

from __future__ import annotations

from functools import cached_property

from klaviyo_bridge.klaviyo.api.accounts import Accounts
from klaviyo_bridge.klaviyo.api.events import Events
from klaviyo_bridge.klaviyo.api.lists import Lists
from klaviyo_bridge.klaviyo.api.metrics import Metrics
from klaviyo_bridge.klaviyo.api.profiles import Profiles
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
    def events(self) -> Events:
        return Events(self._session)

    @cached_property
    def lists(self) -> Lists:
        return Lists(self._session)

    @cached_property
    def metrics(self) -> Metrics:
        return Metrics(self._session)

    @cached_property
    def profiles(self) -> Profiles:
        return Profiles(self._session)
