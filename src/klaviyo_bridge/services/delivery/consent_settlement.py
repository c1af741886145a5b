"""The end of a subscribe: Klaviyo takes it and never says when it is done, so its effect is looked for.

Until then no later request about the same person is sent: Klaviyo does not apply in the order of sending, and an
unsubscribe that overtakes a subscribe would leave the person subscribed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from klaviyo_bridge.domain.consent import Channel, ConsentState, consent_from
from klaviyo_bridge.domain.consent_request import ConsentRequest
from klaviyo_bridge.domain.outbox import Batch, Kind, Lane, RowState, Verdict, WaitingRow
from klaviyo_bridge.klaviyo.api import KlaviyoAPI
from klaviyo_bridge.klaviyo.types import RemoteProfile
from klaviyo_bridge.services.delivery.consent_reading import members_of, read_profiles

PERMISSIVE = frozenset({Lane.SUBSCRIBE, Lane.UNSUPPRESS})
WAITS_AT_MOST = timedelta(minutes=10)
"""Minutes pass before Klaviyo shows a subscription; one that waits for a double opt-in is never shown."""


class Batches(Protocol):
    """Batches Klaviyo has taken. `infra.stores.batches.BatchStore` is one."""

    def accepted(self, account: str) -> list[Batch]: ...
    def rows(self, batch: Batch) -> list[WaitingRow]: ...
    def settle(self, batch: Batch, verdicts: Sequence[Verdict], *, final: bool = True) -> bool: ...


class ConsentSettlement:
    """Looks for the effect of what Klaviyo accepted."""

    def __init__(
        self,
        account: str,
        batches: Batches,
        klaviyo: KlaviyoAPI,
        *,
        clock: Callable[[], datetime],
        waits_at_most: timedelta = WAITS_AT_MOST,
    ) -> None:
        self._account = account
        self._batches = batches
        self._klaviyo = klaviyo
        self._clock = clock
        self._waits_at_most = waits_at_most

    def settle(self) -> int:
        """Look once; returns how many rows are still not seen."""
        mine = [batch for batch in self._batches.accepted(self._account) if batch.lane in PERMISSIVE]
        return sum(self._settle(batch) for batch in mine)

    def _settle(self, batch: Batch) -> int:
        rows = self._batches.rows(batch)
        requests = {row.id: ConsentRequest.load(row.payload) for row in rows}
        seen = self._seen(requests)
        verdicts = [Verdict(row_id=key, state=RowState.DELIVERED) for key in seen]
        missing = [key for key in requests if key not in seen]
        if missing and self._is_over(batch):
            verdicts += [_unconfirmed(key) for key in missing]
            missing = []
        if verdicts or not rows:
            self._batches.settle(batch, verdicts, final=not missing)
        return len(missing)

    def _is_over(self, batch: Batch) -> bool:
        return batch.sent_before is None or self._clock() - batch.sent_before >= self._waits_at_most

    def _seen(self, requests: Mapping[int, ConsentRequest]) -> set[int]:
        profiles = read_profiles(self._klaviyo, {key: request.identity for key, request in requests.items()})
        done = {key for key, request in requests.items() if any(self._shows(p, request) for p in profiles[key])}
        list_id = next((request.list_id for request in requests.values()), None)
        if list_id is None:
            return done
        members = members_of(self._klaviyo, list_id, {p.id: p for key in done for p in profiles[key]})
        return {key for key in done if any(profile.id in members for profile in profiles[key])}

    def _shows(self, profile: RemoteProfile, request: ConsentRequest) -> bool:
        records = consent_from(profile.subscriptions or {}, read_at=self._clock())
        if request.kind is Kind.UNSUPPRESS:
            return all(record.evidence != "suppression:USER_SUPPRESSED" for record in records)
        on: set[Channel] = {record.channel for record in records if record.state is ConsentState.SUBSCRIBED}
        off: set[Channel] = {r.channel for r in records if r.state is not ConsentState.SUBSCRIBED and not r.list_id}
        return set(request.channels) <= on - off


def _unconfirmed(row_id: int) -> Verdict:
    detail = "Klaviyo took it and does not show it; the person may have to confirm (double opt-in)"
    return Verdict(row_id=row_id, state=RowState.DELIVERED, reason="unconfirmed", detail=detail)
