"""The append-only log: every request and every effect. Secrets are not kept."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, cast

import orjson

from klaviyo_simulator.errors import JsonObject
from klaviyo_simulator.times import iso_micro

BODY_LIMIT = 32 * 1024
REQUESTS_KEPT = 200_000
HIDDEN_HEADERS = frozenset({"authorization", "cookie"})


class Cause(NamedTuple):
    """Why something happened: the request that asked for it, and the job that carried it out."""

    request_id: int | None = None
    job_id: str | None = None


class Effect(NamedTuple):
    """One change. `values` is a dict, or the parts of a profile as stored (cheap to keep by the million)."""

    sequence: int
    time: float
    kind: str
    account_id: str
    profile_id: str | None
    cause: Cause
    values: Any

    def document(self) -> JsonObject:
        return {
            "sequence": self.sequence,
            "time": iso_micro(self.time),
            "kind": self.kind,
            "account": self.account_id,
            "profile": self.profile_id,
            "request": self.cause.request_id,
            "job": self.cause.job_id,
            "values": effect_values(self.values),
        }


def effect_values(values: Any) -> Any:
    """The readable form of `Effect.values`."""
    if not isinstance(values, tuple):
        return values
    email, phone, external_id, body = cast("tuple[str | None, str | None, str | None, bytes]", values)
    named: JsonObject = {"email": email, "phone_number": phone, "external_id": external_id}
    named.update(orjson.loads(body))
    return {key: value for key, value in named.items() if value is not None}


@dataclass(slots=True)
class RequestEntry:
    sequence: int
    time: float
    account_id: str | None
    operation: str | None
    method: str
    path: str
    query: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    body_length: int
    status: int | None = None
    fault: str | None = None
    answer: bytes = b""
    duration: float = 0.0

    def document(self, *, full: bool = True) -> JsonObject:
        summary: JsonObject = {
            "sequence": self.sequence,
            "time": iso_micro(self.time),
            "account": self.account_id,
            "operation": self.operation,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "status": self.status,
            "fault": self.fault,
            "body_length": self.body_length,
            "milliseconds": round(self.duration * 1000, 3),
        }
        if full:
            summary["headers"] = _visible(self.headers)
            summary["body"] = self.body.decode(errors="replace")
            summary["answer"] = self.answer.decode(errors="replace")
        return summary


def _visible(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    named = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
    return {name: "***" if name in HIDDEN_HEADERS else value for name, value in named}


@dataclass(slots=True)
class Log:
    """Effects are never dropped; of requests the newest `REQUESTS_KEPT` are kept, the counts are of all."""

    requests: deque[RequestEntry] = field(default_factory=lambda: deque(maxlen=REQUESTS_KEPT))
    effects: list[Effect] = field(default_factory=list[Effect])
    request_count: int = 0
    requests_by: Counter[tuple[str | None, str | None, int | None]] = field(default_factory=Counter)
    effects_by: Counter[tuple[str, str]] = field(default_factory=Counter)

    def open(self, entry: RequestEntry) -> None:
        self.request_count += 1
        self.requests.append(entry)

    def close(self, entry: RequestEntry) -> None:
        self.requests_by[entry.account_id, entry.operation, entry.status] += 1

    def effect(
        self,
        kind: str,
        time: float,
        account_id: str,
        cause: Cause,
        profile_id: str | None,
        values: Any,
    ) -> None:
        self.effects.append(Effect(len(self.effects) + 1, time, kind, account_id, profile_id, cause, values))
        self.effects_by[account_id, kind] += 1

    def find_effects(
        self,
        *,
        kinds: frozenset[str] = frozenset(),
        profile_id: str | None = None,
        account_id: str | None = None,
        since: int = 0,
        limit: int = 1000,
    ) -> list[JsonObject]:
        """Oldest first, after sequence number `since`."""
        chosen = (
            effect
            for effect in islice(self.effects, since, None)
            if (not kinds or effect.kind in kinds)
            and (profile_id is None or effect.profile_id == profile_id)
            and (account_id is None or effect.account_id == account_id)
        )
        return [effect.document() for effect in islice(chosen, limit)]

    def find_requests(
        self,
        *,
        operations: frozenset[str] = frozenset(),
        status: int | None = None,
        account_id: str | None = None,
        since: int = 0,
        limit: int = 1000,
        newest_first: bool = False,
    ) -> Iterator[RequestEntry]:
        source: Iterable[RequestEntry] = reversed(self.requests) if newest_first else self.requests
        chosen = (
            entry
            for entry in source
            if entry.sequence > since
            and (not operations or entry.operation in operations)
            and (status is None or entry.status == status)
            and (account_id is None or entry.account_id == account_id)
        )
        return islice(chosen, limit)

    def counts(self) -> JsonObject:
        requests: dict[str, dict[str, int]] = {}
        for (_, operation, status), count in self.requests_by.items():
            by_status = requests.setdefault(operation or "unknown", {})
            by_status[str(status)] = by_status.get(str(status), 0) + count
        effects: Counter[str] = Counter()
        for (_, kind), count in self.effects_by.items():
            effects[kind] += count
        return {"requests": requests, "effects": dict(effects), "request_total": self.request_count}

    def clear(self) -> None:
        self.requests.clear()
        self.effects.clear()
        self.request_count = 0
        self.requests_by.clear()
        self.effects_by.clear()
