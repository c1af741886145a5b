"""Values with defaults, for tests that care about one of their fields."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from klaviyo_bridge.bridge import Bridge, open_bridge
from klaviyo_bridge.config import Settings, load_settings
from klaviyo_simulator.testing import RunningSimulator

API_KEY = "test-api-key-0123456789"
WEBHOOK_SECRET = "test-webhook-secret-0123456789"
FLOW_TOKEN = "test-flow-token-0123456789"


def some_settings(klaviyo: RunningSimulator | None = None, *, database_url: str, **rest: Any) -> Settings:
    """Settings of a bridge that speaks to `klaviyo`; polling is slow, so that tests pull by themselves."""
    values: dict[str, Any] = {
        "klaviyo_private_key": klaviyo.key if klaviyo else "pk_test_000000000000",
        "klaviyo_host": klaviyo.url if klaviyo else "http://127.0.0.1:9",
        "klaviyo_webhook_signing_secret": [WEBHOOK_SECRET],
        "api_keys": [API_KEY],
        "database_url": database_url,
        "pull_every": 3600.0,
        "push_every": 3600.0,
        "job_poll": 0.05,
    }
    return load_settings(**{**values, **rest})


def a_bridge(klaviyo: RunningSimulator, *, database_url: str, **rest: Any) -> AbstractContextManager[Bridge]:
    """An open bridge that speaks to `klaviyo`."""
    return open_bridge(some_settings(klaviyo, database_url=database_url, **rest))


def a_profile(**fields: Any) -> dict[str, Any]:
    """A profile as the application gives it."""
    return {"email": "ann@example.com", "first_name": "Ann", **fields}


def an_event(**fields: Any) -> dict[str, Any]:
    """An event as the application gives it."""
    return {"metric": "Placed Order", "profile": {"email": "ann@example.com"}, "unique_id": "order-1", **fields}
