"""Profiles to packed bodies on one core, against one account's allowance (25,000 a second) and the official SDK.

    python benchmarks/bench_packing.py

A and B alternate in one process; the figures are medians. CPU seconds of this process, no network.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from openapi_client.api_client import ApiClient
from openapi_client.models.profile_import_job_create_query import ProfileImportJobCreateQuery

from klaviyo_bridge.klaviyo import packing, rows

ALLOWANCE = 25_000
PROFILES = 10_000
ROUNDS = 7


def people(count: int) -> list[dict[str, Any]]:
    """Synthetic attributes of about 400 bytes."""
    return [
        {
            "email": f"person{number}@example.com",
            "external_id": f"customer-{number}",
            "first_name": "Ada",
            "last_name": "Lovelace 🙂",
            "locale": "en-GB",
            "location": {"city": "London", "country": "United Kingdom", "zip": "SW1A 1AA"},
            "properties": {
                "plan": "gold",
                "orders": number % 50,
                "lifetime_value": number * 1.25,
                "last_order": "2026-10-20T12:00:00+00:00",
                "tags": ["newsletter", "returning", "spring"],
            },
        }
        for number in range(count)
    ]


def ours(attributes: list[dict[str, Any]]) -> int:
    """Rows, then bodies."""
    return sum(
        len(packed.body) for packed in packing.pack(map(rows.profile_row, attributes), packing.import_envelope())
    )


def rows_ready(made: Iterable[bytes]) -> int:
    """Bodies of rows that are serialised already."""
    return sum(len(packed.body) for packed in packing.pack(made, packing.import_envelope()))


def sdk(attributes: list[dict[str, Any]]) -> int:
    """What the official SDK does with a dict: model, dict again, then its own JSON."""
    document = {
        "data": {
            "type": "profile-bulk-import-job",
            "attributes": {"profiles": {"data": [{"type": "profile", "attributes": one} for one in attributes]}},
        }
    }
    model = ProfileImportJobCreateQuery.model_validate(document)
    return len(orjson.dumps(ApiClient().sanitize_for_serialization(model)))


def cpu(work: Callable[[], int]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    attributes = people(PROFILES)
    made = list(map(rows.profile_row, attributes))
    variants: dict[str, Callable[[], int]] = {
        "attributes to bodies": lambda: ours(attributes),
        "rows to bodies": lambda: rows_ready(made),
        "official SDK, dict": lambda: sdk(attributes),
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, work in variants.items():
            times[name].append(cpu(work))
    slowest = statistics.median(times["official SDK, dict"])
    print(f"{PROFILES} profiles of {ours(attributes) / PROFILES:.0f} bytes, median of {ROUNDS} rounds, one core")
    for name, values in times.items():
        rate = PROFILES / statistics.median(values)
        against = f"{rate / ALLOWANCE:6.1f} x the allowance, {rate / PROFILES * slowest:6.1f} x the SDK"
        print(f"{name:22} {rate:10,.0f}/s = {against}")
    packed = list(packing.pack(map(rows.profile_row, people(60_000)), packing.import_envelope()))
    full = [max(one.count / 10_000, len(one.body) / 5_000_000) for one in packed[:-1]]
    print(f"bodies filled to {min(full):.4f} of the nearer bound (all but the last)")


if __name__ == "__main__":
    main()
