"""Starts the two programs of the demo, speaks HTTP to them, and waits for things to become true."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import orjson
import urllib3

T = TypeVar("T")
PATIENCE = 45.0  # seconds that anything may take to come true


class NotInTime(Exception):
    """Something the demo waits for did not happen."""


class Client:
    """JSON over HTTP to one of the programs."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = url
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._pool = urllib3.PoolManager(retries=False, timeout=10.0)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The parsed answer; raises `NotInTime` when it is no 2xx."""
        encoded = None if body is None else orjson.dumps(body)
        answer = self._pool.request(method, self.url + path, body=encoded, headers=self._headers)
        if not 200 <= answer.status <= 299:
            raise NotInTime(
                f"{method} {path} was answered {answer.status}: {answer.data[:300].decode(errors='replace')}"
            )
        return orjson.loads(answer.data) if answer.data else None

    def answers(self, path: str) -> bool:
        """Whether the program is up."""
        try:
            self.call("GET", path)
        except (NotInTime, urllib3.exceptions.HTTPError):
            return False
        return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def program(
    name: str, arguments: list[str], *, log: Path, environment: Mapping[str, str]
) -> Generator[subprocess.Popen[bytes]]:
    """Run a module of ours as a process of its own until the block ends; its output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", name, *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env={**os.environ, **environment},
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def asked(name: str, arguments: list[str], *, folder: Path, environment: Mapping[str, str]) -> Any:
    """What a command of ours prints as JSON; raises `NotInTime` when it fails."""
    command = [sys.executable, "-m", name, *arguments]
    ended = subprocess.run(  # noqa: S603  # our own interpreter and module
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, timeout=60, check=False
    )
    if ended.returncode:
        raise NotInTime(f"{' '.join(arguments)} ended with {ended.returncode}")
    return orjson.loads(ended.stdout)


def until(what: str, look: Callable[[], T], *, patience: float = PATIENCE) -> T:
    """The first true answer of `look`; raises `NotInTime` when there is none in time."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise NotInTime(f"waited {patience:.0f} s for this, in vain: {what}")
