"""Identifiers in Klaviyo's forms. All come from one seeded generator, so a seed reproduces a run."""

from __future__ import annotations

import base64
import random
import string
import uuid

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ALPHANUMERIC = string.digits + string.ascii_letters
_PAIRS = [a + b for a in CROCKFORD for b in CROCKFORD]


class Ids:
    """Draws identifiers; nothing here checks for collisions, the spaces are large enough."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._millis = -1
        self._prefix = ""

    def ulid(self, seconds: float) -> str:
        """26 characters that sort by time: profiles, campaigns, messages, webhooks."""
        millis = int(seconds * 1000)
        if millis != self._millis:
            self._millis, self._prefix = millis, _base32(millis, length=10)
        bits = self._rng.getrandbits(80)
        pairs = _PAIRS
        return (
            self._prefix
            + pairs[bits & 1023]
            + pairs[bits >> 10 & 1023]
            + pairs[bits >> 20 & 1023]
            + pairs[bits >> 30 & 1023]
            + pairs[bits >> 40 & 1023]
            + pairs[bits >> 50 & 1023]
            + pairs[bits >> 60 & 1023]
            + pairs[bits >> 70 & 1023]
        )

    def short(self) -> str:
        """6 alphanumerics: lists, segments, metrics, templates, flows."""
        first = self._rng.choice(string.ascii_uppercase)
        return first + "".join(self._rng.choices(ALPHANUMERIC, k=5))

    def event(self) -> str:
        """11 alphanumerics."""
        return "".join(self._rng.choices(ALPHANUMERIC, k=11))

    def uuid(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def hexadecimal(self, length: int) -> str:
        return f"{self._rng.getrandbits(length * 4):0{length}x}"

    def job(self, account_id: str, seconds: float) -> str:
        """Long url-safe base64, whose decoded form names the account and the second."""
        plain = f"{account_id}_maintenance.{self.short()}.{int(seconds)}.{self.short()}"
        return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def _base32(number: int, *, length: int) -> str:
    digits: list[str] = []
    for _ in range(length):
        digits.append(CROCKFORD[number & 31])
        number >>= 5
    return "".join(reversed(digits))


def event_uuid(event_id: str) -> str:
    """The uuid an event shows besides its id; derived, so that it need not be stored."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, event_id))
