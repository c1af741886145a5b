"""The real server: uvicorn with httptools, in the foreground or in a thread."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from klaviyo_simulator.app import TRANSPORT, App
from klaviyo_simulator.errors import SimulatorError
from klaviyo_simulator.simulator import Simulator


class Protocol(HttpToolsProtocol):
    """Lets the application reach the connection, which faults abort."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # pyright: ignore[reportAssignmentType]
        scope[TRANSPORT] = self.transport


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 picks a free one."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


def make_server(simulator: Simulator, *, host: str, port: int) -> uvicorn.Server:
    config = uvicorn.Config(
        App(simulator),
        host=host,
        port=port,
        http=Protocol,
        log_level="warning",
        access_log=False,
        lifespan="on",
        backlog=2048,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
        server_header=False,
    )
    return uvicorn.Server(config)


def serve(simulator: Simulator, *, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve until interrupted; `tell` hears the URL once the port is taken.

    A process that holds millions of records must not have them walked by the garbage collector again
    and again, so full collections are made rare.
    """
    gc.set_threshold(100_000, 50, 100_000)
    listener = bind(host, port)
    simulator.world.public_url = url_of(listener)
    tell(simulator.world.public_url)
    make_server(simulator, host=host, port=port).run(sockets=[listener])


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class ThreadedServer:
    """A server in a background thread of this process."""

    def __init__(self, simulator: Simulator, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._listener = bind(host, port)
        self.url = url_of(self._listener)
        simulator.world.public_url = self.url
        self._server = make_server(simulator, host=host, port=port)
        self._thread = threading.Thread(target=self._run, name="klaviyo-simulator", daemon=True)

    def start(self, *, patience: float = 10.0) -> None:
        """Returns when requests are answered; SimulatorError when that takes longer than `patience` seconds.

        Eturns when requests are answered; SimulatorError when that takes longer than `patience`
        seconds.
        """
        self._thread.start()
        deadline = time.monotonic() + patience
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise SimulatorError("The simulator did not start.")
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._listener.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._listener])
