"""The command line as a person and a service manager meet it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from builders import API_KEY
from klaviyo_simulator.testing import RunningSimulator
from programs import UpProcess, bridge_environment
from waiting import until


def run(*arguments: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "klaviyo_bridge", *arguments]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", ["up", "serve", "worker", "migrate", "doctor"])
def test_settings_that_do_not_fit_end_with_2_and_name_every_problem(command: str, tmp_path: Path) -> None:
    ended = run(command, env=bridge_environment(None, tmp_path, BRIDGE_PORT="seventy"), cwd=tmp_path)

    assert ended.returncode == 2
    assert "KLAVIYO_PRIVATE_KEY" in ended.stderr
    assert "BRIDGE_PORT" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_mapping_that_does_not_fit_the_table_ends_with_2(klaviyo: RunningSimulator, tmp_path: Path) -> None:
    (tmp_path / "bridge.toml").write_text(
        '[[mappings]]\nname = "people"\nurl = "sqlite:///empty.db"\ntable = "users"\nkey = "id"\n'
        '[mappings.fields]\nemail = "mail"\n'
    )

    ended = run("up", env=bridge_environment(klaviyo, tmp_path), cwd=tmp_path)

    assert ended.returncode == 2
    assert "people" in ended.stderr
    assert "users" in ended.stderr
    assert "Traceback" not in ended.stderr


class TestDoctor:
    def test_finds_everything_well(self, klaviyo: RunningSimulator, tmp_path: Path) -> None:
        ended = run("doctor", "--json", env=bridge_environment(klaviyo, tmp_path), cwd=tmp_path)

        assert (ended.returncode, ended.stderr) == (0, "")
        assert {check["name"]: check["ok"] for check in json.loads(ended.stdout)} == {
            "database": True,
            "key": True,
            "clock": True,
            "profiles:read": True,
            "events:read": True,
            "metrics:read": True,
            "lists:read": True,
            "webhook secret": True,
            "API key": True,
        }

    def test_says_what_to_do_about_a_refused_key(self, klaviyo: RunningSimulator, tmp_path: Path) -> None:
        env = bridge_environment(klaviyo, tmp_path, KLAVIYO_PRIVATE_KEY="pk_refused_0123456789")

        ended = run("doctor", env=env, cwd=tmp_path)

        assert ended.returncode == 1
        assert "KLAVIYO_PRIVATE_KEY" in ended.stdout
        assert "pk_refused" not in ended.stdout + ended.stderr

    def test_names_a_scope_the_key_lacks(self, klaviyo: RunningSimulator, tmp_path: Path) -> None:
        klaviyo.control.add_key("pk_narrow_0123456789", scopes=["accounts:read", "profiles:read"])
        env = bridge_environment(klaviyo, tmp_path, KLAVIYO_PRIVATE_KEY="pk_narrow_0123456789")

        ended = run("doctor", "--json", env=env, cwd=tmp_path)

        refused = {check["name"] for check in json.loads(ended.stdout) if not check["ok"]}
        assert ended.returncode == 1
        assert refused == {"events:read", "metrics:read", "lists:read"}

    def test_notices_a_public_key_of_another_account(self, klaviyo: RunningSimulator, tmp_path: Path) -> None:
        ended = run("doctor", env=bridge_environment(klaviyo, tmp_path, KLAVIYO_PUBLIC_KEY="OTHER1"), cwd=tmp_path)

        assert ended.returncode == 1
        assert "OTHER1" in ended.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_up_delivers_and_ends_in_ten_seconds_when_told_to(
    klaviyo: RunningSimulator, tmp_path: Path, number: signal.Signals, unused_port: int
) -> None:
    up = UpProcess(tmp_path, unused_port, bridge_environment(klaviyo, tmp_path))
    up.start()
    assert up.process is not None
    headers = {"Authorization": f"Bearer {API_KEY}"}
    httpx.post(f"{up.url}/v1/profiles", json={"email": "ann@example.com"}, headers=headers).raise_for_status()
    until(lambda: klaviyo.control.effects(kind="profile.created"))

    told = time.monotonic()
    up.process.send_signal(number)
    up.process.wait(timeout=20)

    assert time.monotonic() - told < 10
