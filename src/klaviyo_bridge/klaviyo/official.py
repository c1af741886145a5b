"""The official SDK, reduced to what we let it do: authentication, revision, user agent and URLs.

Its models are not used: they turn absent fields into null, drop unknown ones, and fail on new statuses.
Its package holds no useful types for these internals, so the untyped part ends in this file.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from klaviyo_api import KlaviyoAPI

from klaviyo_bridge.errors import ConfigError, InvalidPayload, Problem
from klaviyo_bridge.klaviyo.limits import Limit
from klaviyo_bridge.klaviyo.transport import Transport, tls_context

JSON_API = "application/vnd.api+json"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_AUTH = ["Klaviyo-API-Key"]

Request = tuple[str, str, dict[str, str], Any, Any]
"""Method, URL, headers, body, form: as the SDK's own `call_api` takes them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status. Header names are looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class OfficialClient:
    """Turns an operation into a request and sends it over our transport."""

    def __init__(self, api_key: str, *, host: str, pool: int, transport: Callable[..., Transport] = Transport) -> None:
        self._client = KlaviyoAPI(_checked_key(api_key), max_retries=1, test_host=checked_host(host)).api_client
        self._transport = transport(self._client.configuration, tls=tls_context(), pool=pool)
        self._client.rest_client = self._transport
        self._client.set_default_header("Accept-Encoding", "gzip, deflate")

    def request(
        self, limit: Limit, path: Mapping[str, str], query: Sequence[tuple[str, str]], body: bytes | None
    ) -> Request:
        """The request of one operation. Raises InvalidPayload for an id that would change the path."""
        headers = {"Accept": JSON_API} if body is None else {"Accept": JSON_API, "Content-Type": JSON_API}
        return self._client.param_serialize(
            limit.method,
            limit.path,
            path_params={name: _checked_id(name, value) for name, value in path.items()},
            query_params=list(query),
            header_params=headers,
            body=body,
            auth_settings=_AUTH,
        )

    def send(self, request: Request) -> Answer:
        """One HTTP request. Raises `urllib3.exceptions.HTTPError` when no answer came."""
        answer = self._client.call_api(*request)
        return Answer(answer.status, answer.getheaders(), answer.data or b"")

    def close(self) -> None:
        """Close the idle connections."""
        self._transport.close()


def checked_host(host: str) -> str:
    """`host` without a trailing slash. Plain HTTP stays on this machine: the key travels with each call."""
    parts = urlsplit(host)
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not secure or not parts.hostname or parts.username or parts.query or parts.fragment:
        what = "must be https://..., or http://... on this machine"
        raise ConfigError(problems=[Problem("klaviyo.host", what)])
    return host.rstrip("/")


def _checked_key(api_key: str) -> str:
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ConfigError(problems=[Problem("klaviyo.private_key", "is empty or no key")])
    return api_key


def _checked_id(name: str, value: str) -> str:
    """Percent-encoding leaves dots alone, and a path of dots climbs."""
    if not value or not value.strip(".") or not value.isprintable():
        raise InvalidPayload(problems=[Problem(name, "is not an id")])
    return value
