"""Who is calling and in which revision: what is checked before an operation is looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import parse_qs

from klaviyo_simulator.account import Account, Credential
from klaviyo_simulator.errors import ApiError, Problem, forbidden, invalid
from klaviyo_simulator.routing import Operation

_REVISION = re.compile(r"\d{4}-\d\d-\d\d(\.[a-z0-9]+)?")
_KEY = "klaviyo-api-key "
_BEARER = "bearer "
JSON_TYPES = ("application/vnd.api+json", "application/json")
LIFETIME_YEARS = 2


class Caller(NamedTuple):
    """`credential` None for /client/ requests, which need none."""

    account: Account
    credential: Credential | None

    @property
    def quota(self) -> str:
        """Whose windows are used up: the account's, or those of an OAuth app within it."""
        app = self.credential.app if self.credential else None
        return f"{self.account.id}/{app}" if app else self.account.id


def authenticate(directory: Mapping[str, tuple[Account, Credential]], header: str | None) -> Caller:
    """By private key or OAuth token; ApiError 401."""
    if not header:
        text = "Authentication credentials were not provided."
        raise ApiError(401, Problem(detail=text, code="not_authenticated"))
    lowered = header.lower()
    for scheme in (_KEY, _BEARER):
        if lowered.startswith(scheme):
            found = directory.get(header[len(scheme) :].strip())
            if found is not None and (found[1].app is not None) == (scheme == _BEARER):
                return Caller(*found)
    text = "Incorrect authentication credentials."
    raise ApiError(401, Problem(detail=text, code="authentication_failed"))


def company(accounts: Mapping[str, Account], raw_query: str) -> Caller:
    """By the public key in `company_id`; ApiError 400."""
    wanted = parse_qs(raw_query).get("company_id", [""])[0]
    account = accounts.get(wanted)
    if account is None:
        raise invalid(f"Invalid company_id '{wanted}'.", parameter="company_id")
    return Caller(account, None)


def check_scopes(caller: Caller, operation: Operation) -> None:
    credential = caller.credential
    if credential is None:
        return
    missing = [scope for scope in operation.scopes if not credential.allows(scope)]
    if missing:
        raise forbidden()


def check_revision(revision: str | None, now: float, *, retired_answers_410: bool, opted_out: bool) -> str:
    """The revision asked for. Missing or malformed: 400; older than two years: 410 (by switch)."""
    if not revision:
        raise invalid("The revision header is required.", parameter="revision")
    if _REVISION.fullmatch(revision) is None:
        raise invalid(f"'{revision}' is not a valid revision.", parameter="revision")
    if (retired_answers_410 or opted_out) and _is_retired(revision, now):
        detail = f"The revision {revision} has been retired."
        raise ApiError(410, Problem(detail=detail, code="gone"))
    return revision


def _is_retired(revision: str, now: float) -> bool:
    year, month_and_day = int(revision[:4]), revision[4:10]
    today = datetime.fromtimestamp(now, UTC).date().isoformat()
    return f"{year + LIFETIME_YEARS}{month_and_day}" <= today


def check_content_type(header: str | None) -> None:
    """415 for a body that is said to be something else than JSON."""
    if header and header.split(";")[0].strip().lower() not in JSON_TYPES:
        detail = f"Unsupported media type '{header}' in request."
        raise ApiError(415, Problem(detail=detail, code="unsupported_media_type"))
