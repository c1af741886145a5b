"""A request to change what a person receives: subscribe, unsubscribe, suppress, unsuppress, erase."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self, cast

import orjson

from klaviyo_bridge.domain.consent import Channel, Consent, ConsentState, opt_out
from klaviyo_bridge.domain.outbox import Kind
from klaviyo_bridge.domain.profile import IDENTIFIERS, Identity, profile_change
from klaviyo_bridge.domain.values import problems
from klaviyo_bridge.errors import InvalidPayload, Problem

CLOCKS_APART: Final = timedelta(minutes=5)
"""How far ahead of ours the clock of whoever noted the consent may be."""
_NAMES: Final = (*IDENTIFIERS, "klaviyo_id")
_MARKS: Final = {"source", "evidence"}
_FIELDS: Final[Mapping[Kind, set[str]]] = {
    Kind.SUBSCRIBE: {*_NAMES, *_MARKS, "channels", "list_id", "consented_at", "historical_import"},
    Kind.UNSUBSCRIBE: {*_NAMES, *_MARKS, "channels", "list_id"},
    Kind.SUPPRESS: {*_NAMES, *_MARKS},
    Kind.UNSUPPRESS: {*_NAMES, *_MARKS},
    Kind.ERASE: {*_NAMES, "source"},
}
_RECORDED: Final[Mapping[Kind, ConsentState]] = {
    Kind.UNSUBSCRIBE: ConsentState.UNSUBSCRIBED,
    Kind.SUPPRESS: ConsentState.SUPPRESSED,
    Kind.UNSUPPRESS: ConsentState.UNSUPPRESSED,
}
DEFAULT_SOURCE: Final = "application"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRequest:
    """Valid and normalised: this is what waits in the outbox. `at` is when we were asked."""

    kind: Kind
    identity: Identity
    at: datetime
    channels: Sequence[Channel] = (Channel.EMAIL,)
    list_id: str | None = None
    consented_at: datetime | None = None
    source: str = DEFAULT_SOURCE
    evidence: str | None = None
    historical: bool = False

    @property
    def records(self) -> list[Consent]:
        """What the ledger keeps of it."""
        if self.kind is Kind.ERASE:
            return []
        return [self._record(channel) for channel in self.channels]

    def _record(self, channel: Channel) -> Consent:
        asked = ConsentState.CONSENTED if self.consented_at else ConsentState.REQUESTED
        return Consent(
            channel=channel,
            state=_RECORDED.get(self.kind, asked),
            at=self.consented_at or self.at,
            source=self.source,
            evidence=self.evidence,
            list_id=self.list_id,
        )

    def dump(self) -> bytes:
        return orjson.dumps({**asdict(self), "channels": list(self.channels)})

    @classmethod
    def load(cls, payload: bytes) -> Self:
        fields: dict[str, Any] = orjson.loads(payload)
        given = fields["consented_at"]
        return cls(
            **{
                **fields,
                "kind": Kind(fields["kind"]),
                "identity": Identity(**fields["identity"]),
                "at": datetime.fromisoformat(fields["at"]),
                "channels": tuple(Channel(channel) for channel in fields["channels"]),
                "consented_at": datetime.fromisoformat(given) if given else None,
            }
        )


def refusal(request: ConsentRequest, records: Iterable[Consent]) -> str | None:
    """Why the ledger forbids this request; None when it may go.

    Only subscribing and lifting a suppression can be refused: saying no is always allowed.
    """
    known = list(records)
    if request.kind is Kind.SUBSCRIBE:
        return next(filter(None, (_opted_out(request, channel, known) for channel in request.channels)), None)
    if request.kind is Kind.UNSUPPRESS:
        newer = (r for r in known if r.state is ConsentState.SUPPRESSED and r.at > request.at)
        return "suppressed_since" if next(newer, None) else None
    return None


def _opted_out(request: ConsentRequest, channel: Channel, records: Sequence[Consent]) -> str | None:
    """The request's own record is in the ledger already, so what it says is compared by its time alone."""
    others = [r for r in records if not (r.state is ConsentState.CONSENTED and r.at == request.consented_at)]
    out = opt_out(others, channel, list_id=request.list_id)
    if out is None or (request.consented_at is not None and request.consented_at > out.at):
        return None
    return str(out.state)


def consent_request(fields: Mapping[str, object], *, kind: Kind, now: datetime, where: str = "") -> ConsentRequest:
    """A request from what the application gives; raises `InvalidPayload` naming every field that is wrong."""
    prefix = f"{where}." if where else ""
    allowed = _FIELDS[kind]
    found = [
        Problem(f"{prefix}{name[:64]}", f"is not a field of {kind.value}") for name in fields if name not in allowed
    ]
    identity = _identity(fields, where, found)
    consented_at = _moment(fields.get("consented_at"), now, f"{prefix}consented_at", found)
    wanted = _channels(fields.get("channels"), kind, f"{prefix}channels", found)
    historical = _flag(fields.get("historical_import"), f"{prefix}historical_import", found)
    evidence = _text(fields.get("evidence"), f"{prefix}evidence", found, most=2_000)
    if historical and (consented_at is None or evidence is None):
        found += _undocumented(consented_at, evidence, prefix)
    source = _text(fields.get("source"), f"{prefix}source", found, most=64) or DEFAULT_SOURCE
    list_id = _text(fields.get("list_id"), f"{prefix}list_id", found, most=64)
    if found or identity is None:
        raise InvalidPayload(problems=found)
    return ConsentRequest(
        kind=kind,
        identity=identity,
        at=now,
        channels=tuple(wanted),
        list_id=list_id,
        consented_at=consented_at,
        source=source,
        evidence=evidence,
        historical=historical,
    )


def _undocumented(consented_at: datetime | None, evidence: str | None, prefix: str) -> Iterable[Problem]:
    if consented_at is None:
        yield Problem(f"{prefix}consented_at", "is needed for a historical import: when did the person agree?")
    if evidence is None:
        yield Problem(f"{prefix}evidence", "is needed for a historical import: how do you know that they agreed?")


def _identity(fields: Mapping[str, object], where: str, found: list[Problem]) -> Identity | None:
    try:
        return profile_change({name: fields[name] for name in _NAMES if name in fields}, where=where).identity
    except InvalidPayload as error:
        found += error.problems
        return None


def _channels(value: object, kind: Kind, where: str, found: list[Problem]) -> list[Channel]:
    if value is None or kind not in (Kind.SUBSCRIBE, Kind.UNSUBSCRIBE):
        return [Channel.EMAIL]
    named = cast(Sequence[object], value) if isinstance(value, list | tuple) else [value]
    known = {channel.value for channel in Channel if channel is not Channel.PUSH}
    if not named or any(not isinstance(name, str) or name not in known for name in named):
        found.append(Problem(where, "must be a list of email, sms, whatsapp (push consent belongs to the device)"))
        return []
    return [Channel(cast(str, name)) for name in dict.fromkeys(named)]


def _moment(value: object, now: datetime, where: str, found: list[Problem]) -> datetime | None:
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(cast(str, value))
        aware = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        found.append(Problem(where, "is not an ISO 8601 time, such as 2026-10-20T12:00:00Z"))
        return None
    if aware > now + CLOCKS_APART:
        found.append(Problem(where, "lies ahead: nobody can have agreed yet"))
    return aware


def _flag(value: object, where: str, found: list[Problem]) -> bool:
    if value is not None and not isinstance(value, bool):
        found.append(Problem(where, "must be true or false"))
    return value is True


def _text(value: object, where: str, found: list[Problem], *, most: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value.strip()) <= most:
        found.append(Problem(where, f"must be text of 1 to {most} characters"))
        return None
    found += problems(value, where)
    return value.strip()
