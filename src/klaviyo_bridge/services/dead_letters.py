"""Dead letters: found, looked at with personal data masked, replayed in order, discarded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from klaviyo_bridge.domain.dead_letter import DeadLetter, Replayed, Wanted
from klaviyo_bridge.domain.event import Event
from klaviyo_bridge.domain.outbox import Kind
from klaviyo_bridge.domain.profile import ProfileChange
from klaviyo_bridge.domain.values import iso
from klaviyo_bridge.errors import NotFound

PAGE = 500
MASK = "•••"


class DeadRows(Protocol):
    """Where dead letters are. `infra.stores.dead_letters.DeadLetterStore` is one."""

    def page(self, account: str, wanted: Wanted, *, after: int, limit: int) -> list[DeadLetter]: ...
    def get(self, account: str, row_id: int) -> DeadLetter | None: ...
    def replay(self, account: str, ids: Sequence[int]) -> Replayed: ...
    def discard(self, account: str, ids: Sequence[int]) -> int: ...


class DeadLetters:
    """The dead letters of one account. Everything may be repeated: what is not dead any more is left alone."""

    def __init__(self, account: str, rows: DeadRows) -> None:
        self._account = account
        self._rows = rows

    def page(self, wanted: Wanted | None = None, *, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        """The next ones by id, at most 500."""
        return self._rows.page(self._account, wanted or Wanted(), after=after, limit=min(limit, PAGE))

    def every(self, wanted: Wanted | None = None) -> Iterator[DeadLetter]:
        """All of them, page by page."""
        after = 0
        while page := self.page(wanted, after=after, limit=PAGE):
            yield from page
            after = page[-1].id

    def get(self, row_id: int) -> DeadLetter:
        """One of them; raises NotFound."""
        letter = self._rows.get(self._account, row_id)
        if letter is None:
            raise NotFound(f"there is no dead letter {row_id}")
        return letter

    def replay(self, ids: Sequence[int]) -> Replayed:
        """Have these delivered again, behind the gate like all rows. A field that a newer row wrote stays newer."""
        return self._rows.replay(self._account, ids)

    def replay_all(self, wanted: Wanted | None = None) -> Replayed:
        """As `replay` for all that are dead now and fit; those that die again meanwhile are not taken twice."""
        total, after = Replayed(), 0
        while page := self.page(wanted, after=after, limit=PAGE):
            total += self.replay([letter.id for letter in page])
            after = page[-1].id
        return total

    def discard(self, ids: Sequence[int]) -> int:
        """End these for good; returns how many."""
        return self._rows.discard(self._account, ids)


def described(letter: DeadLetter, *, reveal: bool = False) -> dict[str, Any]:
    """The letter as a document; values of the person are masked unless they are to be revealed."""
    content = _content(letter)
    return {
        "id": letter.id,
        "kind": str(letter.kind),
        "reason": letter.reason,
        "detail": letter.detail,
        "created_at": iso(letter.created_at),
        "died_at": None if letter.died_at is None else iso(letter.died_at),
        "content": content if reveal else {name: None if v is None else MASK for name, v in content.items()},
    }


def _content(letter: DeadLetter) -> dict[str, Any]:
    if letter.kind is Kind.PROFILE:
        return dict(ProfileChange.load(letter.payload).fields())
    if letter.kind is Kind.EVENT:
        event = Event.load(letter.payload)
        return {
            "metric": event.metric,
            "unique_id": event.unique_id,
            "time": event.time,
            **event.profile.fields(),
            "event_properties": dict(event.properties),
        }
    return {}
