"""Events: what people did, on its way to Klaviyo's metrics, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Protocol

from klaviyo_bridge.domain.event import Event, Order, event, order_step, purchase
from klaviyo_bridge.domain.outbox import Kind, NewRow, Priority, Taken
from klaviyo_bridge.services.profile_sync import checked


class EventOutbox(Protocol):
    """Where events are put on disk. `infra.stores.outbox.OutboxStore` is one."""

    def add(self, account: str, rows: Sequence[NewRow]) -> Taken: ...


@dataclass(frozen=True, slots=True)
class Tracked:
    """`queued` are on disk and on their way; `repeated` were taken before and count once."""

    queued: int
    repeated: int


class EventTracker:
    """Tracks events of one account."""

    def __init__(self, account: str, outbox: EventOutbox, *, clock: Callable[[], datetime]) -> None:
        self._account = account
        self._outbox = outbox
        self._clock = clock

    def track(self, fields: Mapping[str, object], *, trace: str | None = None) -> Tracked:
        """Have Klaviyo know this event. On disk when this returns.

        `fields`: `metric`, `profile` (at least one identifier), and optionally `properties`, `time`,
        `unique_id`, `value`, `value_currency`, `backfill`. The same metric, person and `unique_id` count once,
        however often they are sent. Raises `InvalidPayload` naming every field that is wrong.
        """
        return self.take(self.check([fields]), trace=trace)

    def track_many(self, events: Sequence[Mapping[str, object]], *, trace: str | None = None) -> Tracked:
        """As `track`, all or none: one wrong event raises `InvalidPayload` and nothing is taken."""
        return self.take(self.check(events, many=True), trace=trace)

    def check(self, events: Sequence[Mapping[str, object]], *, many: bool = False) -> list[Event]:
        """The events these fields stand for; raises `InvalidPayload`. With `many`, paths carry the index."""
        return checked(events, partial(event, now=self._clock()), where="events" if many else "")

    def track_purchase(self, customer: Mapping[str, object], order: Order, *, trace: str | None = None) -> Tracked:
        """Have Klaviyo know this order: Placed Order, and Ordered Product for each line.

        `order_id` makes it once-only, so reporting the same order again is harmless.
        """
        return self.track_many(purchase(customer, order), trace=trace)

    def track_checkout(self, customer: Mapping[str, object], order: Order, *, at: datetime | None = None) -> Tracked:
        """Started Checkout: `order.order_id` is the checkout's own id, once-only as all of these."""
        return self.track(order_step(customer, order, "Started Checkout", at=at or order.placed_at))

    def track_fulfilment(self, customer: Mapping[str, object], order: Order, *, at: datetime) -> Tracked:
        """Fulfilled Order: it was shipped or handed over."""
        return self.track(order_step(customer, order, "Fulfilled Order", at=at))

    def track_cancellation(
        self, customer: Mapping[str, object], order: Order, *, at: datetime, reason: str | None = None
    ) -> Tracked:
        """Cancelled Order; `reason` becomes the property `Reason`."""
        return self.track(order_step(customer, order, "Cancelled Order", at=at, Reason=reason))

    def track_refund(
        self,
        customer: Mapping[str, object],
        order: Order,
        *,
        at: datetime,
        amount: Decimal | None = None,
        refund_id: str | None = None,
        reason: str | None = None,
    ) -> Tracked:
        """Refunded Order: of the whole, or of `amount`. Several refunds of one order need a `refund_id` each."""
        step = order_step(customer, order, "Refunded Order", at=at, Reason=reason)
        unique_id = f"{order.order_id}:{refund_id}" if refund_id else order.order_id
        return self.track({**step, "unique_id": unique_id, "value": order.total if amount is None else amount})

    def take(self, events: Sequence[Event], *, trace: str | None = None) -> Tracked:
        """Put checked events on disk."""
        taken = self._outbox.add(self._account, [_row(item, trace) for item in events])
        return Tracked(taken.taken, taken.repeated)


def _row(item: Event, trace: str | None) -> NewRow:
    return NewRow(
        kind=Kind.EVENT,
        identity=item.profile.identity,
        payload=item.dump(),
        priority=Priority.LIVE,
        dedupe_key=item.dedupe_key,
        trace=trace,
    )
