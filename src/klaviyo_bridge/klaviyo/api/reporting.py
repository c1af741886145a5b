"""Reports and metric aggregates. Reports are dear: 2 a minute, 225 a day, pages included. Do not poll."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from klaviyo_bridge.klaviyo import filters
from klaviyo_bridge.klaviyo.api.documents import next_page_cursor, resource
from klaviyo_bridge.klaviyo.lane import Priority
from klaviyo_bridge.klaviyo.rows import encode
from klaviyo_bridge.klaviyo.session import Session
from klaviyo_bridge.klaviyo.types import Json, attributes_of

_KINDS = {
    "query_campaign_values": "campaign-values-report",
    "query_flow_values": "flow-values-report",
    "query_flow_series": "flow-series-report",
    "query_form_values": "form-values-report",
    "query_form_series": "form-series-report",
    "query_segment_values": "segment-values-report",
    "query_segment_series": "segment-series-report",
}


class Reporting:
    """Numbers that Klaviyo has computed."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def campaign_values(self, **attributes: object) -> Iterator[Json]:
        """Rows `{groupings, statistics}`; wants `statistics`, `timeframe` and `conversion_metric_id`."""
        return self.report("query_campaign_values", attributes)

    def flow_values(self, **attributes: object) -> Iterator[Json]:
        """Rows `{groupings, statistics}`; wants `statistics`, `timeframe` and `conversion_metric_id`."""
        return self.report("query_flow_values", attributes)

    def report(self, operation: str, attributes: Mapping[str, object]) -> Iterator[Json]:
        """All rows of a report, page by page. Times are of the account's zone, rates are fractions."""
        body = encode({"data": {"type": _KINDS[operation], "attributes": attributes}})
        cursor: str | None = None
        while True:
            query = [("page_cursor", cursor)] if cursor else []
            reply = self._session.call(operation, query=query, body=body, priority=Priority.FULL_SYNC, deadline=90.0)
            yield from _rows(attributes_of(resource(reply)).get("results"))
            following = next_page_cursor(reply.json())
            if following is None or following == cursor:
                return
            cursor = following

    def metric_aggregates(
        self,
        metric_id: str,
        *,
        start: datetime,
        end: datetime,
        measurements: Sequence[str] = ("count",),
        interval: str = "day",
        by: Sequence[str] = (),
        timezone: str = "UTC",
        where: Sequence[str] = (),
    ) -> Json:
        """`{dates: [...], data: [{dimensions, measurements: {name: [one per date]}}]}`, at most a year."""
        between = [filters.greater_or_equal("datetime", start), filters.less_than("datetime", end)]
        attributes: dict[str, object] = {
            "metric_id": metric_id,
            "measurements": list(measurements),
            "interval": interval,
            "timezone": timezone,
            "filter": [*between, *where],
        }
        if by:
            attributes["by"] = list(by)
        body = encode({"data": {"type": "metric-aggregate", "attributes": attributes}})
        reply = self._session.call("query_metric_aggregates", body=body, priority=Priority.FULL_SYNC)
        return attributes_of(resource(reply))


def _rows(results: object) -> list[Json]:
    found = cast("list[Any]", results) if isinstance(results, list) else []
    return [cast("Json", row) for row in found if isinstance(row, dict)]
