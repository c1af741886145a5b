"""Misbehaviour on demand: rules that say which request, job or event goes wrong, how, and how often.

Pure bookkeeping; what a kind does to a connection is in `app`, to a job in `jobs`, to an event in `tracking`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from klaviyo_simulator.errors import ControlError, JsonObject

REQUEST_KINDS = {
    "status": "answer `params.status`; with `effect` true after the work was done; takes `retry_after`",
    "html": "answer an HTML page with `params.status` (403 by default), as Cloudflare does",
    "body": "answer `params.status` with the text `params.text` and `params.content_type`",
    "latency": "wait `params.seconds` (plus up to `params.jitter`) before the work, with `after` after it",
    "slow_body": "send the answer in `params.chunk` bytes every `params.seconds`",
    "truncate": "announce the whole body, send `params.fraction` of it, then close",
    "reset_before": "reset the connection before the body is read; nothing is done",
    "reset_after": "do the work, then reset the connection without an answer",
    "reset_during": "do the work, send half the answer, then reset",
    "hang": "accept and do not answer for `params.seconds`, nothing is done",
    "missing_headers": "leave out the headers in `params.names` (RateLimit-* and Content-Type by default)",
    "wrong_limits": "say `params.limit` in RateLimit-Limit while the real windows stay",
    "unknown_enum": "put `params.value` into every member named `params.attribute` (`status` by default)",
    "extra_field": "add an undeclared attribute to every resource of the answer",
}
JOB_KINDS = {
    "job_stuck": "the job stays queued for ever",
    "job_cancelled": "the job ends as cancelled, nothing is applied",
    "job_expired": "the job is applied but its record answers 404",
    "job_late": "the job is applied `params.seconds` later than usual",
    "job_out_of_order": "the job is applied after the next one of the same account",
    "job_errors": "the rows whose number divides by `params.every` fail and become import errors",
}
EVENT_KINDS = {
    "event_future": "the event is stored `params.seconds` later in event time than it says",
    "event_late": "the event is stored `params.seconds` later than usual",
    "event_lost": "the event was answered 202 and is never stored",
}
KINDS = REQUEST_KINDS | JOB_KINDS | EVENT_KINDS


@dataclass(slots=True, kw_only=True)
class Rule:
    """`count` None means without end; `skip` lets the first matches pass."""

    id: int
    kind: str
    operation: str = "*"
    account: str | None = None
    probability: float = 1.0
    count: int | None = None
    skip: int = 0
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    fired: int = 0

    def concerns(self, operation: str, account_id: str | None) -> bool:
        if self.account is not None and self.account != account_id:
            return False
        return any(fnmatchcase(operation, part.strip()) for part in self.operation.split(","))

    def number(self, name: str, default: float) -> float:
        value = self.params.get(name, default)
        if not isinstance(value, int | float):
            raise ControlError(f"Parameter '{name}' of a fault must be a number.")
        return value


class Faults:
    """The rules in force. The first rule that fires wins, but for latency, which adds up."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._ids = itertools.count(1)
        self.rules: list[Rule] = []

    def add(self, values: JsonObject) -> Rule:
        kind = values.get("kind")
        if kind not in KINDS:
            raise ControlError(f"There is no fault '{kind}'. Faults: {', '.join(KINDS)}")
        unknown = set(values) - {"kind", "operation", "account", "probability", "count", "skip", "params"}
        if unknown:
            raise ControlError(f"A fault has no field {', '.join(sorted(unknown))}.")
        rule = Rule(id=next(self._ids), **values)
        self.rules.append(rule)
        return rule

    def remove(self, rule_id: int) -> bool:
        before = len(self.rules)
        self.rules = [rule for rule in self.rules if rule.id != rule_id]
        return len(self.rules) < before

    def clear(self) -> None:
        self.rules = []

    def fire(self, operation: str, account_id: str | None, kinds: Iterable[str]) -> list[Rule]:
        """The rules that strike now, each counted as fired."""
        if not self.rules:
            return []
        return [
            rule
            for rule in self.rules
            if rule.kind in kinds and rule.concerns(operation, account_id) and self._strikes(rule)
        ]

    def documents(self) -> list[JsonObject]:
        return [asdict(rule) for rule in self.rules]

    def _strikes(self, rule: Rule) -> bool:
        if rule.count is not None and rule.fired >= rule.count:
            return False
        if rule.skip > 0:
            rule.skip -= 1
            return False
        if rule.probability < 1.0 and self.rng.random() >= rule.probability:
            return False
        rule.fired += 1
        return True
