"""A worker process of the gate tests: calls as often as the gate lets it, and prints when it could."""

from __future__ import annotations

import sys
import time

from klaviyo_bridge.errors import RateLimited
from klaviyo_bridge.infra.database import open_database
from klaviyo_bridge.infra.stores.gate_store import SQLGateStore
from klaviyo_bridge.klaviyo.gate import Gate
from klaviyo_bridge.klaviyo.lane import Priority


def main(url: str, operation: str, seconds: float) -> None:
    """Call `operation` for so many seconds."""
    with open_database(url) as database:
        gate = Gate("acc", SQLGateStore(database))
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                gate.acquire(operation, priority=Priority.UPSERT, deadline=left)
            except RateLimited:
                return
            print(time.monotonic(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
