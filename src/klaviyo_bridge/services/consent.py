"""Consent: asked for here, kept in a ledger of our own, and delivered before anything else.

Nobody is subscribed against a newer "no". The ledger is asked when a request is taken, again in the transaction
that seals its batch, and once more, with what Klaviyo says then, right before it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from klaviyo_bridge.domain.consent import Channel, Consent, current
from klaviyo_bridge.domain.consent_request import ConsentRequest, consent_request
from klaviyo_bridge.domain.outbox import Kind
from klaviyo_bridge.domain.profile import profile_change
from klaviyo_bridge.services.profile_sync import checked

Fields = Mapping[str, object]


class Ledger(Protocol):
    """Where requests and consent are kept. `infra.stores.consent.ConsentStore` is one."""

    def ask(
        self, account: str, requests: Sequence[ConsentRequest], *, trace: str | None = None
    ) -> list[str | None]: ...
    def erase(self, account: str, requests: Sequence[ConsentRequest], *, trace: str | None = None) -> None: ...
    def history(self, account: str, identity: Any) -> list[Consent]: ...
    def refusals(self, account: str, *, after: int, limit: int) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """The request at `index` was not taken, and why."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Asked:
    """`queued` are on disk and on their way; `refused` are not, and are kept for somebody to look at."""

    queued: int
    refused: Sequence[Refusal] = field(default=())


class ConsentKeeper:
    """Consent of the people of one account.

    Each request names a person by `email`, `phone_number`, `external_id` or `klaviyo_id`, and may say where it
    comes from (`source`) and how that is known (`evidence`). All are taken or, when a field is wrong, none:
    `InvalidPayload` names every wrong field.
    """

    def __init__(self, account: str, ledger: Ledger, *, clock: Callable[[], datetime]) -> None:
        self._account = account
        self._ledger = ledger
        self._clock = clock

    def subscribe(self, *requests: Fields, trace: str | None = None) -> Asked:
        """Subscribe to `channels` (email unless given), of one list with `list_id`, else of the account.

        `consented_at` says when the person agreed: it is what overrules an older opt-out, and without it an
        opted-out person is refused. Where the list or the account asks for double opt-in, the person gets the
        confirmation message first. `historical_import` skips that, and wants `consented_at` and `evidence`.
        """
        return self.ask(Kind.SUBSCRIBE, requests, trace=trace)

    def unsubscribe(self, *requests: Fields, trace: str | None = None) -> Asked:
        """Unsubscribe from `channels`: everywhere, or from one list with `list_id`.

        With a list, who is not on it is refused (`not_a_member`) when the request is delivered: Klaviyo would
        unsubscribe them from everything, which is more than was asked.
        """
        return self.ask(Kind.UNSUBSCRIBE, requests, trace=trace)

    def suppress(self, *requests: Fields, trace: str | None = None) -> Asked:
        """Send no email to these people, whatever they subscribed to."""
        return self.ask(Kind.SUPPRESS, requests, trace=trace)

    def unsuppress(self, *requests: Fields, trace: str | None = None) -> Asked:
        """Lift suppressions made by `suppress` or by hand; bounces, complaints and opt-outs stay."""
        return self.ask(Kind.UNSUPPRESS, requests, trace=trace)

    def erase(self, *requests: Fields, trace: str | None = None) -> Asked:
        """Forget these people: at Klaviyo, and here but for a keyed hash by which they are recognised.

        What waits for them is never sent, and whatever comes for them later is refused, unless it is a
        `subscribe` with consent given after the erasure.
        """
        return self.ask(Kind.ERASE, requests, trace=trace)

    def ask(self, kind: Kind, requests: Sequence[Fields], *, many: bool = True, trace: str | None = None) -> Asked:
        """Take requests of one kind. On disk when this returns. Without `many`, paths of problems carry no index."""
        check = partial(consent_request, kind=kind, now=self._clock())
        wanted: list[ConsentRequest] = checked(requests, check, where="requests" if many and len(requests) > 1 else "")
        if kind is Kind.ERASE:
            self._ledger.erase(self._account, wanted, trace=trace)
            return Asked(len(wanted))
        reasons = self._ledger.ask(self._account, wanted, trace=trace)
        refused = [Refusal(index, reason) for index, reason in enumerate(reasons) if reason is not None]
        return Asked(len(reasons) - len(refused), refused)

    def history(self, person: Fields) -> list[Consent]:
        """Every record about the person, oldest first."""
        return self._ledger.history(self._account, profile_change(person).identity)

    def current(self, person: Fields) -> dict[Channel, Consent]:
        """What counts now, per channel; a channel nobody said anything about is missing."""
        return current(self.history(person))

    def refusals(self, *, after: int = 0, limit: int = 100) -> list[dict[str, Any]]:
        """Requests and writes that consent forbade, oldest first, after the one numbered `after`."""
        return self._ledger.refusals(self._account, after=after, limit=limit)
