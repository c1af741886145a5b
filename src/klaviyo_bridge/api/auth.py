"""Who may call: a key in `Authorization: Bearer …`, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request

from klaviyo_bridge.api.errors import NoApiKey

Check = Callable[[Request], Awaitable[None]]


def require_key(keys: Sequence[str]) -> Check:
    """A dependency that lets requests with one of these keys pass. Without any key, nobody passes.

    It awaits nothing, but a plain function would cost every request a thread.
    """
    digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    async def check(request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        given = hashlib.sha256(key.strip().encode()).digest()
        matches = [hmac.compare_digest(given, digest) for digest in digests]
        if scheme.lower() != "bearer" or not any(matches):
            raise NoApiKey("an API key is needed: Authorization: Bearer …")

    return check
