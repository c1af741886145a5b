"""What may be remembered for a while: in this process, or in a Redis or Valkey that several share.

A cache is never needed: with a time to live of 0, or while its server is down, every question goes to its source.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import orjson
import structlog
from dogpile.cache import make_region
from dogpile.cache.region import CacheRegion

log = structlog.get_logger(__name__)
T = TypeVar("T")
REACH_WITHIN = 1.0  # seconds until a server counts as down


class Cache:
    """Remembers JSON values under names; one caller at a time makes a value that is missing."""

    def __init__(self, region: CacheRegion | None, prefix: str) -> None:
        self._region = region
        self._prefix = prefix

    def get(self, name: str, make: Callable[[], T]) -> T:
        """The remembered value, or a new one from `make`, whose errors reach the caller."""
        if self._region is None:
            return make()
        made: list[T] = []
        failed: list[BaseException] = []

        def create() -> T:
            try:
                made.append(make())
            except BaseException as error:
                failed.append(error)
                raise
            return made[-1]

        try:
            return self._region.get_or_create(self._prefix + name, create)
        except Exception as error:
            if failed:
                raise
            log.warning("cache is down", error=type(error).__name__)
            return made[-1] if made else make()

    def forget(self, *names: str) -> None:
        """Have these made anew. While the server is down nothing is remembered that could be old for long."""
        if self._region is None:
            return
        try:
            self._region.delete_multi([self._prefix + name for name in names])
        except Exception as error:  # noqa: BLE001  # whatever the server's client raises: the cache is not needed
            log.warning("cache is down", error=type(error).__name__)


def open_cache(url: str | None, account: str, ttl: float) -> Cache:
    """The cache of one account; values live `ttl` seconds. Nothing is connected before it is needed."""
    prefix = f"klaviyo-bridge:{account}:"
    if ttl <= 0:
        return Cache(None, prefix)
    region = make_region(serializer=_dump, deserializer=_load)
    if url is None:
        return Cache(region.configure("dogpile.cache.memory", expiration_time=ttl), prefix)
    arguments: dict[str, Any] = {
        "url": url,
        "socket_timeout": REACH_WITHIN,
        "connection_kwargs": {"socket_connect_timeout": REACH_WITHIN},
    }
    return Cache(region.configure("dogpile.cache.redis", expiration_time=ttl, arguments=arguments), prefix)


def _dump(value: Any) -> bytes:
    """JSON and never a pickle: who can write to the server must not be able to run code here."""
    return orjson.dumps(value)


def _load(stored: bytes) -> Any:
    return orjson.loads(stored)
