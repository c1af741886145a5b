"""Our programs as processes of their own, so that they can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from builders import API_KEY, WEBHOOK_SECRET
from klaviyo_simulator.testing import RunningSimulator
from waiting import until


def bridge_environment(klaviyo: RunningSimulator | None, folder: Path, **rest: str) -> dict[str, str]:
    """What a bridge process is told; nothing of the caller's own settings is inherited."""
    ours = {
        "BRIDGE_DATABASE_URL": f"sqlite:///{folder / 'bridge.db'}",
        "BRIDGE_API_KEYS": API_KEY,
        "KLAVIYO_WEBHOOK_SIGNING_SECRET": WEBHOOK_SECRET,
        **({"KLAVIYO_PRIVATE_KEY": klaviyo.key, "BRIDGE_KLAVIYO_HOST": klaviyo.url} if klaviyo else {}),
        **rest,
    }
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("BRIDGE_", "KLAVIYO_"))}
    return {**inherited, **ours}


class UpProcess:
    """`klaviyo-bridge up`, which may be killed and started again."""

    def __init__(self, folder: Path, port: int, environment: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._command = [sys.executable, "-m", "klaviyo_bridge", "up", "--port", str(port)]
        self._folder = folder
        self._environment = environment
        self._log = folder / "bridge.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return when it is ready."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdout=log, stderr=log
            )
        until(self.ready, seconds=60)

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self._log.read_text()
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)
