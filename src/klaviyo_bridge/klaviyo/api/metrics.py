"""Metrics: the kinds of events an account has."""

from __future__ import annotations

from collections.abc import Iterator

from klaviyo_bridge.klaviyo.api.documents import every, page, page_query
from klaviyo_bridge.klaviyo.session import Session
from klaviyo_bridge.klaviyo.types import Page, RemoteMetric


class Metrics:
    """Kinds of events. Klaviyo filters them neither by name nor by size of page: read all, then look."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def page(self, cursor: str | None = None) -> Page[RemoteMetric]:
        """Two hundred metrics."""
        return page(
            self._session.call("get_metrics", query=page_query("get_metrics", cursor=cursor)),
            RemoteMetric.parse,
        )

    def all(self) -> Iterator[RemoteMetric]:
        """Every metric of the account."""
        return every(self.page)
