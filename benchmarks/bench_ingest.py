"""Durable ingest against accept-and-drop on the same server, interleaved in one run; arrays against singles.

    uv run python benchmarks/bench_ingest.py [sqlite:///… | postgresql://…]

Prints medians of ratios. 202 of the durable route means: on disk, committed with whoever else was waiting.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import statistics
import sys
import tempfile
import time
from datetime import timedelta

import orjson
import uvicorn
from starlette.requests import Request
from starlette.responses import Response

from klaviyo_bridge.api.app import create_app
from klaviyo_bridge.bridge import open_bridge
from klaviyo_bridge.config import load_settings

KEY = "bench-key-0123456789"
PORT = 8791
CONNECTIONS = 64
SECONDS = 2.0
PAIRS = 5
NUMBERS = itertools.count()


def serve(database_url: str) -> None:
    """The bridge's own service, without a worker, and beside it a route that reads the body and forgets it."""
    settings = load_settings(
        klaviyo_private_key="pk_bench_000000",
        klaviyo_host="http://127.0.0.1:9",
        database_url=database_url,
        backlog_limit=100_000_000,
    )
    with open_bridge(settings) as bridge:
        app = create_app(bridge, api_keys=[KEY], webhook_secrets=[], webhook_tolerance=timedelta(seconds=300))

        @app.post("/drop")
        async def drop(request: Request) -> Response:
            orjson.loads(await request.body())
            return Response(b'{"accepted":1}', 202, media_type="application/json")

        uvicorn.run(
            app, host="127.0.0.1", port=PORT, http="httptools", loop="uvloop", access_log=False, log_config=None
        )


def event() -> dict[str, object]:
    number = next(NUMBERS)
    return {
        "metric": "Placed Order",
        "profile": {"email": f"customer{number % 50_000}@example.com", "first_name": "Ann"},
        "unique_id": f"order-{time.time_ns()}-{number}",
        "value": 59.9,
        "properties": {"OrderId": str(number), "ItemNames": ["Tea", "Pot"], "note": "x" * 150},
    }


def request(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def client(path: str, until: float, items: int) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    latencies: list[float] = []
    while time.monotonic() < until:
        body = orjson.dumps(event() if items == 1 else [event() for _ in range(items)])
        started = time.monotonic()
        writer.write(request(path, body))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 202 " in head.split(b"\r\n", 1)[0], head
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        latencies.append(time.monotonic() - started)
    writer.close()
    return latencies


async def load(path: str, *, items: int = 1, connections: int = CONNECTIONS) -> tuple[float, float]:
    """Rows a second, and the 99th percentile of the answer's time in milliseconds."""
    started = time.monotonic()
    results = await asyncio.gather(*(client(path, started + SECONDS, items) for _ in range(connections)))
    latencies = sorted(itertools.chain.from_iterable(results))
    rate = len(latencies) * items / (time.monotonic() - started)
    return rate, latencies[int(len(latencies) * 0.99)] * 1000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/bench.db"
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(url,), daemon=True)
        server.start()
        wait_until_up()
        asyncio.run(load("/v1/events"))  # warm both up
        asyncio.run(load("/drop"))
        pairs = [(asyncio.run(load("/v1/events")), asyncio.run(load("/drop"))) for _ in range(PAIRS)]
        arrays = [asyncio.run(load("/v1/events", items=500, connections=2))[0] for _ in range(3)]
        server.kill()
    durable = statistics.median(pair[0][0] for pair in pairs)
    dropped = statistics.median(pair[1][0] for pair in pairs)
    ratio = statistics.median(pair[0][0] / pair[1][0] for pair in pairs)
    ours, theirs = (statistics.median(pair[side][1] for pair in pairs) for side in (0, 1))
    rows = statistics.median(arrays)
    print(f"database                         {url.split(':')[0]}")
    print(f"durable : accept-and-drop        {ratio:.2f}   ({durable:,.0f} : {dropped:,.0f} requests/s, {PAIRS} pairs)")
    print(f"p99 of an answer                 {ours:.1f} ms : {theirs:.1f} ms")
    print(f"arrays of 500 : singles, rows/s  {rows / durable:.1f}   ({rows:,.0f} rows/s)")


def wait_until_up() -> None:
    async def connect() -> None:
        while True:
            try:
                await asyncio.open_connection("127.0.0.1", PORT)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                return

    asyncio.run(asyncio.wait_for(connect(), 60))


if __name__ == "__main__":
    main()
