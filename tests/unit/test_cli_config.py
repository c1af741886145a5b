"""`klaviyo-bridge config`: everything in effect, nothing secret."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from klaviyo_bridge.cli import app
from klaviyo_bridge.cli.config import effective, without_password
from klaviyo_bridge.config import load_settings

SECRET = "canary-secret-0123456789"


@pytest.mark.parametrize("arguments", [["config"], ["config", "--json"]])
def test_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch, tmp_path, arguments: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KLAVIYO_PRIVATE_KEY", f"pk_{SECRET}")
    monkeypatch.setenv("BRIDGE_API_KEYS", f"{SECRET},another-{SECRET}")
    monkeypatch.setenv("KLAVIYO_WEBHOOK_SIGNING_SECRET", SECRET)
    monkeypatch.setenv("BRIDGE_DATABASE_URL", f"postgresql://bridge:{SECRET}@db.example.com/bridge")
    (tmp_path / "bridge.toml").write_text(
        f'[[mappings]]\nname = "people"\nurl = "postgresql://app:{SECRET}@db/app"\ntable = "users"\nkey = "id"\n'
        '[mappings.fields]\nemail = "mail"\n'
    )

    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 0
    assert SECRET not in result.output
    assert "db.example.com" in result.output
    assert "users" in result.output


def test_names_are_those_a_person_sets(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KLAVIYO_PRIVATE_KEY", "pk_test_000000000000")
    monkeypatch.setenv("BRIDGE_PORT", "9000")

    result = CliRunner().invoke(app, ["config", "--json"])

    shown = json.loads(result.output)
    assert shown["BRIDGE_PORT"] == 9000
    assert shown == effective(load_settings())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///bridge.db", "sqlite:///bridge.db"),
        ("postgresql://u:p@h/d", "postgresql://u:***@h/d"),
        ("postgresql://h/d?password=p", "********"),
        ("not a url", "********"),
    ],
)
def test_of_a_database_url_only_the_password_is_hidden(url: str, shown: str) -> None:
    assert without_password(url) == shown
