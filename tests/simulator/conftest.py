"""One simulator for all tests of a process, reset before each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from klaviyo_simulator.testing import RunningSimulator, running_simulator

REVISION = "2026-07-15"


@pytest.fixture(scope="session")
def server() -> Iterator[RunningSimulator]:
    with running_simulator(limits=False, kdp=True) as running:
        yield running


@pytest.fixture
def klaviyo(server: RunningSimulator) -> RunningSimulator:
    server.control.reset()
    return server


class Api:
    """An HTTP client with the headers Klaviyo wants, and shorthands for the bodies it wants."""

    def __init__(self, klaviyo: RunningSimulator) -> None:
        headers = {"Authorization": f"Klaviyo-API-Key {klaviyo.key}", "revision": REVISION}
        self.http = httpx.Client(base_url=klaviyo.url, headers=headers)

    def get(self, path: str, **params: Any) -> httpx.Response:
        return self.http.get(path, params={_name(name): value for name, value in params.items()})

    def post(self, path: str, data: Any, **params: Any) -> httpx.Response:
        return self.http.post(path, json={"data": data}, params=params)

    def patch(self, path: str, data: Any) -> httpx.Response:
        return self.http.patch(path, json={"data": data})

    def upsert(self, **attributes: Any) -> httpx.Response:
        return self.post("/api/profile-import", {"type": "profile", "attributes": attributes})

    def person(self, **attributes: Any) -> str:
        return self.upsert(**attributes).json()["data"]["id"]

    def track(self, metric: str, email: str, **attributes: Any) -> httpx.Response:
        return self.post("/api/events", event(metric, email, **attributes))

    def metric_id(self, name: str) -> str:
        found = self.get("/api/metrics").json()["data"]
        return next(item["id"] for item in found if item["attributes"]["name"] == name)


def _name(name: str) -> str:
    """`fields_profile` means `fields[profile]`, as in the official SDK."""
    for prefix in ("additional_fields", "fields", "page"):
        if name.startswith(f"{prefix}_"):
            return f"{prefix.replace('_', '-')}[{name.removeprefix(prefix + '_').replace('_', '-')}]"
    return name


def event(metric: str, email: str, **attributes: Any) -> dict[str, Any]:
    return {
        "type": "event",
        "attributes": {
            "properties": {},
            "metric": {"data": {"type": "metric", "attributes": {"name": metric}}},
            "profile": {"data": {"type": "profile", "attributes": {"email": email}}},
            **attributes,
        },
    }


@pytest.fixture
def api(klaviyo: RunningSimulator) -> Iterator[Api]:
    client = Api(klaviyo)
    yield client
    client.http.close()
